"""YAML read strictly: plain data only, every key once, and every key's line known."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pathlib
from typing import Any

import yaml

from ..errors import UsageError, refuse_exhausted
from .paths import PathLike

MAX_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Document:
    """A YAML file.

    Args:
        path: where it was read.
        values: its nested mapping, keys are strings.
        lines: line number of every key, dotted ("SOLVER.BASE_LR"), and of list entries ("STEPS[0]",
            "STEPS[0].NAME").
    """

    path: str
    values: dict[str, Any]
    lines: dict[str, int]

    def where(self, key: str) -> str:
        """File and line of a key; the file alone when the key does not stand in it."""
        return f"{self.path}:{self.lines[key]}" if key in self.lines else self.path

    def error(self, key: str, message: str) -> UsageError:
        """The error to raise about a key: one line that begins with its file and line."""
        return UsageError(f"{self.where(key)}: {message}")


def parse_written(text: str) -> Any:
    """The values of YAML that this package wrote itself: by libyaml where that is there, ten times
    as fast, but with other words for what is wrong.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class _Loader(yaml.SafeLoader):
    """Plain data without anchors: a few lines of those can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            problem = "aliases (*name) are not read: write the value out"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


def read_yaml(path: PathLike) -> Document:
    """Read one recipe file.

    Raises:
        UsageError: it is missing, too large, not UTF-8, not YAML, holds tags, aliases or a key
            twice, or is no mapping of names; names the file and the line.
    """
    try:
        return _parse(path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        tab = (
            mark is not None
            and mark.buffer is not None
            and mark.buffer[mark.pointer : mark.pointer + 1] == "\t"
        )
        problem = "a tab stands here, indent with spaces" if tab else error.problem or error.context
        raise UsageError(f"{path}:{line}: {problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a UTF-8 YAML file ({str(error).splitlines()[0]})") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply for a recipe") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def _parse(path: PathLike) -> Document:
    document = _parse_text(str(path), _text(path))
    return dataclasses.replace(
        document, values=copy.deepcopy(document.values), lines=dict(document.lines)
    )


# One run reads a recipe and its bases again and again; parsing them is most of loading a recipe.
@functools.lru_cache(maxsize=64)
def _parse_text(path: str, text: str) -> Document:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise UsageError(f"{path}: the file is empty; a recipe needs at least one key")
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(
                f"{path}:{node.start_mark.line + 1}: a recipe is a mapping (KEY: value), this"
                " is not"
            )
        lines: dict[str, int] = {}
        _walk(node, "", lines, path)
        return Document(path, loader.construct_document(node), lines)
    finally:
        loader.dispose()


def _text(path: PathLike) -> str:
    try:
        data = (
            pathlib.Path(path).read_bytes()
            if pathlib.Path(path).stat().st_size <= MAX_BYTES
            else None
        )
    except OSError as error:
        refuse_exhausted(error, path)
        raise UsageError(f"{path}: the recipe cannot be read ({error.strerror})") from error
    if data is None:
        raise UsageError(f"{path}: larger than {MAX_BYTES} bytes, so it is no recipe")
    return data.decode("utf-8-sig")


def _walk(node: yaml.Node, prefix: str, lines: dict[str, int], path: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, inner in enumerate(node.value):
            name = f"{prefix[:-1]}[{number}]"
            lines[name] = inner.start_mark.line + 1
            _walk(inner, f"{name}.", lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise UsageError(
                f"{path}:{line}: a key must be a name, not {getattr(key, 'value', key.tag)!r}"
            )
        name = f"{prefix}{key.value}"
        if name in lines:
            raise UsageError(
                f"{path}:{line}: {name} stands twice, first in line {lines[name]}; keep one"
            )
        lines[name] = line
        _walk(value, f"{name}.", lines, path)
