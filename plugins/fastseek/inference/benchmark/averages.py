"""Figures over all tasks of a benchmark: of ten random splits, of the domains of one gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...structures import Score, Task
from .ranking import join_queries

OWN = ("task", "queries", "counted", "skipped", "gallery", "depth", "cut")  # of one task alone


def average(
    tasks: Sequence[Task], scores: Sequence[Sequence[Score]]
) -> Iterator[tuple[str, list[Score]]]:
    """Yield a heading and the figures of every average that the tasks ask for.

    Args:
        tasks: of one benchmark.
        scores: those of each task.
    """
    count = len(tasks)
    if count < 2:
        return
    if all("tasks" in task.averages for task in tasks):
        yield f"mean over {count} tasks", [_mean(of) for of in zip(*scores, strict=True)]
    if all("queries" in task.averages for task in tasks):
        joined = [join_queries(of, _shared(of)) for of in zip(*scores, strict=True)]
        yield f"mean over the queries of {count} tasks", joined


def _mean(scores: Sequence[Score]) -> Score:
    """The mean of the tasks' figures; their spread stands in its protocol."""
    values = [score.value for score in scores]
    spread = {"spread": float(np.std(values, ddof=1)), "tasks": len(scores)}
    return Score(scores[0].name, float(np.mean(values)), None, {**_shared(scores), **spread})


def _shared(scores: Sequence[Score]) -> dict[str, Any]:
    return {key: value for key, value in scores[0].protocol.items() if key not in OWN}
