"""What recipes there are, what they say of themselves, and what each of their keys is."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ..io.json_files import read_json
from ..io.paths import PathLike
from ..io.text_table import table
from ..io.yaml_lines import read_yaml

SUFFIXES = (".yml", ".yaml")
PLANS = "plans"


def find(root: PathLike) -> list[pathlib.Path]:
    """Every recipe below configs/ and projects/*/configs/, by name; no plan in a folder plans/."""
    root = pathlib.Path(root)
    folders = [root / "configs", *sorted(root.glob("projects/*/configs"))]
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix in SUFFIXES and path.parent.name != PLANS
    ]


def plans(root: PathLike) -> list[pathlib.Path]:
    """Every plan below configs/*/plans/ and projects/*/plans/, by name."""
    root = pathlib.Path(root)
    folders = [*sorted(root.glob(f"configs/*/{PLANS}")), *sorted(root.glob(f"projects/*/{PLANS}"))]
    return [
        path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES
    ]


def is_plan(path: PathLike) -> bool:
    """Whether a file is a plan and no recipe: it has STEPS."""
    return "STEPS" in read_yaml(path).values


def is_rounds(path: PathLike) -> bool:
    """Whether a file is a plan of rounds, for `tools/grow.py`: it has DATA beside its STEPS."""
    return is_plan(path) and "DATA" in read_yaml(path).values


def is_base(path: PathLike) -> bool:
    """Whether a recipe is only inherited from: `Base-*.yml`."""
    return pathlib.Path(path).name.startswith("Base-")


def describe(path: PathLike) -> str:
    """The first comment line of a recipe, "" when it has none before its first key."""
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").strip()
        if line.strip():
            break
    return ""


def listing(root: PathLike) -> str:
    """All recipes with what they say of themselves and, where a run was recorded beside them, what
    they reach.
    """
    lines = []
    for path in find(root):
        lines.append(f"{path.relative_to(root).as_posix()}\n    {describe(path) or 'no comment'}")
        results = path.with_suffix(".results.json")
        if results.exists():
            lines += [f"    {line}" for line in table(read_json(results)["rows"]).splitlines()]
    return (
        "\n".join(lines)
        if lines
        else f"no recipe below {root}/configs or {root}/projects/*/configs"
    )


def explain(config_file: PathLike, opts: Sequence[str] = ()) -> str:
    """The merged config as YAML, each line with the file that set it, "default" or "override".

    Raises:
        UsageError: the recipe cannot be loaded.
    """
    from . import recipe  # only this needs fast-reid

    places = {
        key: "override" if file == "command line" else file
        for key, file in recipe.origins(config_file, opts).items()
    }
    lines = list(_lines(recipe.load(config_file, opts), places, "", ""))
    width = min(max(len(text) for text, _ in lines), 56)
    return "\n".join(f"{text.ljust(width)}  # {place}" if place else text for text, place in lines)


def _lines(
    node: Mapping[str, Any], places: Mapping[str, str], prefix: str, indent: str
) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:", ""
            yield from _lines(value, places, f"{prefix}{key}.", f"{indent}  ")
        else:
            yield f"{indent}{key}: {_plain(value)}", places.get(f"{prefix}{key}", "default")


def _plain(value: Any) -> str:
    text = yaml.safe_dump(
        list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=1 << 20
    )
    return text.removesuffix("...\n").strip()
