"""Tables in Markdown files, printed from the results files they name."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..io.json_files import read_json
from ..io.paths import PathLike
from ..io.text_table import metric_names
from .several_runs import SPREAD

_BLOCK = re.compile(
    r"<!-- results: (?P<file>\S+)(?: columns: (?P<columns>[^>]+?))? -->\n" r".*?<!-- /results -->",
    re.DOTALL,
)

Row = Mapping[str, Any]


def fill(text: str, root: PathLike) -> str:
    """Print every table anew between `<!-- results: FILE -->` and `<!-- /results -->`.

    The file of a run gives its steps, in percent: the mean over trainings, ± their standard
    deviation where there were several, and the interval over queries. That of a benchmark gives
    one line a row and wants its columns named: `<!-- results: FILE columns: images=Images;
    ours.cpu=Ours, s -->`, where a dot leads into a nested object.

    Args:
        text: the Markdown.
        root: the folder the file names are relative to.

    Raises:
        DataError: a results file is missing. UsageError: it has no rows, or the columns are not
            named.
    """

    def print_anew(match: re.Match[str]) -> str:
        rows = read_json(pathlib.Path(root) / match["file"]).get("rows")
        if not rows:
            raise UsageError(f"{match['file']} has no rows to print")
        body = _benchmark(rows, match["columns"]) if match["columns"] else _run(rows, match["file"])
        return f"{match[0].splitlines()[0]}\n{body}\n<!-- /results -->"

    return _BLOCK.sub(print_anew, text)


def _run(rows: Sequence[Row], file: str) -> str:
    if not all("metrics" in row for row in rows):
        raise UsageError(
            f"{file} is a benchmark: name the columns, <!-- results: {file} columns: key=Head;"
            " … -->"
        )
    names = [name for name in metric_names(rows) if not name.endswith(SPREAD)]
    body = [
        [row["name"], *(_figure(row, name) for name in names), f"{row.get('seconds', 0):.0f}"]
        for row in rows
    ]
    return _lines(["", *names, "seconds"], body)


def _figure(row: Row, name: str) -> str:
    if name not in row["metrics"]:
        return "-"
    span = row.get("interval", {}).get(name)
    between = f" ({100 * span[0]:.1f} to {100 * span[1]:.1f})" if span else ""
    spread = row["metrics"].get(f"{name}{SPREAD}")
    trainings = "" if spread is None else f" ± {100 * spread:.1f}"
    return f"{100 * row['metrics'][name]:.1f}{trainings}{between}"


def _benchmark(rows: Sequence[Row], columns: str) -> str:
    pairs = [column.split("=", 1) for column in columns.split(";")]
    return _lines(
        [head.strip() for _, head in pairs],
        [[_cell(row, key.strip()) for key, _ in pairs] for row in rows],
    )


def _cell(row: Row, path: str) -> str:
    value: Any = row
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _lines(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
