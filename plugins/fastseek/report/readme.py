"""Tables in Markdown files, printed from the results files they name."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..files import PathLike, read_json
from .table import metric_names

_BLOCK = re.compile(r"<!-- results: (?P<file>\S+) -->\n.*?<!-- /results -->", re.DOTALL)


def fill(text: str, root: PathLike) -> str:
    """Print every table anew between `<!-- results: file.json -->` and `<!-- /results -->`.

    Args:
        text: the Markdown.
        root: the folder the file names are relative to.

    Raises:
        DataError: a results file is missing. UsageError: it is neither a run nor a benchmark.
    """
    def printed(match: re.Match[str]) -> str:
        body = markdown(read_json(pathlib.Path(root) / match["file"]), match["file"])
        return f"<!-- results: {match['file']} -->\n{body}\n<!-- /results -->"

    return _BLOCK.sub(printed, text)


def markdown(results: Mapping[str, Any], name: str) -> str:
    """A results file as a Markdown table: the steps of a run, or the rows of a benchmark.

    Args:
        results: a run has `rows` with `name` and `metrics` (shares, shown in percent with their interval); a benchmark
            has `table`, a list of rows with the same keys.
        name: the file, for the error.

    Raises:
        UsageError: it is neither.
    """
    if "rows" in results and all("metrics" in row for row in results["rows"]):
        return _run(results["rows"])
    if "table" in results:
        return _lines(list(results["table"][0]), [list(row.values()) for row in results["table"]])
    raise UsageError(f"{name} has neither rows with metrics nor a table")


def _run(rows: Sequence[Mapping[str, Any]]) -> str:
    names = metric_names(rows)
    body = [[row["name"], *(_figure(row, name) for name in names), f"{row.get('seconds', 0):.0f}"] for row in rows]
    return _lines(["", *names, "seconds"], body)


def _figure(row: Mapping[str, Any], name: str) -> str:
    if name not in row["metrics"]:
        return "-"
    span = row.get("interval", {}).get(name)
    between = f" ({100 * span[0]:.1f} to {100 * span[1]:.1f})" if span else ""
    return f"{100 * row['metrics'][name]:.1f}{between}"


def _lines(head: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)
