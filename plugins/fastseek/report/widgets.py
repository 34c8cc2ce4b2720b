"""What the page shows of scores: tiles, a histogram, the table of steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..io.text_table import metric_names
from ..structures import Score
from .interval import interval
from .one_protocol import check_one_protocol

BARS = 20


@dataclasses.dataclass(frozen=True)
class Tile:
    """One figure: its name, the share it is, its interval, and what it counts."""

    name: str
    value: float
    span: tuple[float, float] | None
    counted: str


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar of the histogram: from which share to which, how many queries, height as a share of
    the tallest.
    """

    low: float
    high: float
    queries: int
    height: float


@dataclasses.dataclass(frozen=True)
class Cell:
    """One figure of a step: its value, the change since the row above, and whether it is its
    column's best.
    """

    value: float | None
    change: float | None
    best: bool


def tiles(scores: Sequence[Score]) -> list[Tile]:
    """One tile a score, in the given order."""
    return [
        Tile(score.name, float(score.value), interval(score), _count_text(score))
        for score in scores
    ]


def _count_text(score: Score) -> str:
    if score.per_query is None:
        return "over all answers at once"
    counted = int((~np.isnan(score.per_query)).sum())
    left_out = len(score.per_query) - counted
    return f"{counted:,} queries" + (f", {left_out:,} left out" if left_out else "")


def histogram(values: np.ndarray) -> list[Bar]:
    """How many queries reach which share; NaN is left out."""
    edges = np.linspace(0, 1, BARS + 1)
    counts = np.histogram(values[~np.isnan(values)].clip(0, 1), edges)[0]
    tallest = max(int(counts.max()), 1)
    return [
        Bar(float(low), float(high), int(count), int(count) / tallest)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def steps_table(
    rows: Sequence[Mapping[str, Any]], first: bool = False
) -> tuple[list[str], list[tuple[str, list[Cell], float | None]]]:
    """The metrics that head the columns, and for every row its name, cells and seconds.

    Args:
        rows: of results.json.
        first: changes are since the first row, not since the row above.

    Raises:
        ArtefactError: rows are of different protocols, whose figures no table compares.
    """
    check_one_protocol(rows)
    names = metric_names(rows)
    best = {
        name: max(row["metrics"][name] for row in rows if name in row["metrics"]) for name in names
    }
    lines, above = [], dict[str, float]()
    for row in rows:
        cells = [
            _cell(row["metrics"].get(name), above.get(name), best[name], len(rows))
            for name in names
        ]
        lines.append((str(row["name"]), cells, row.get("seconds")))
        above |= row["metrics"] if not (first and above) else {}
    return names, lines


def _cell(value: float | None, above: float | None, best: float, rows: int) -> Cell:
    change = value - above if value is not None and above is not None else None
    return Cell(value, change, rows > 1 and value == best)
