"""Rows of text in columns, and rows of figures as such a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def count_noun(number: int, one: str, several: str = "") -> str:
    """Such as "1 class" or "2,000 classes"; `several` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def metric_names(rows: Sequence[Row]) -> list[str]:
    """The metrics of all rows, each once, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row["metrics"]))


def table(rows: Sequence[Row], metrics: Sequence[str] | None = None) -> str:
    """Rows of results.json as an aligned table, figures in percent.

    Args:
        rows: each with "name" and "metrics" (name -> share in 0..1), perhaps "seconds".
        metrics: the columns; all that occur when not given. A row without one of them gets a dash.

    Returns:
        Lines without a final newline; the first is the head.
    """
    metrics = metric_names(rows) if metrics is None else list(metrics)
    timed = any(row.get("seconds") is not None for row in rows)
    lines = [["", *metrics, *(["seconds"] if timed else [])]]
    for row in rows:
        figures = [_percent(row["metrics"].get(name)) for name in metrics]
        lines.append(
            [str(row["name"]), *figures, *([_seconds(row.get("seconds"))] if timed else [])]
        )
    return align_columns(lines)


def align_columns(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Rows of cells as lines of text whose columns stand below one another, two spaces apart.

    Args:
        rows: the lines, each with the same number of cells; often the first is the head.
        left: the numbers of the columns that are filled up on the right, as text is; the others are
            filled up on the left, as numbers are.

    Returns:
        Lines without a final newline and without spaces at their ends.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
