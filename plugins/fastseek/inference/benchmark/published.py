"""Published figures of benchmarks, with their sources, to stand beside ours."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from ...io.text_table import align_columns

WORDS = "published, other model and setting"
FILE = pathlib.Path(__file__).with_name("published.json")


class Figure(NamedTuple):
    """A published figure.

    Args:
        method: what reached it, and on which data where a benchmark has several.
        task: of the benchmark, "" for its only one.
        metric: as a Score is called, "" where the source tells no single one.
        value: the share in 0..1.
        source: where it was read.
    """

    method: str
    task: str
    metric: str
    value: float
    source: str


@functools.cache
def _pages() -> dict[str, list[Figure]]:
    pages = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: [Figure(*row) for row in rows] for name, rows in pages.items()}


def published_figures(name: str) -> list[Figure]:
    """The published figures of a benchmark, none where none are known."""
    return _pages().get(name, [])


def published_table(figures: Sequence[Figure]) -> str:
    """The figures as text, headed by what they are not."""
    if not figures:
        return ""
    rows = [["task", "metric", "value", "method", "source"]]
    rows += [
        [one.task or "-", one.metric or "-", f"{one.value:.4f}", one.method, one.source]
        for one in figures
    ]
    return f"{WORDS}:\n{align_columns(rows, left=(0, 1, 3, 4))}"
