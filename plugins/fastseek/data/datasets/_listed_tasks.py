"""Tasks of benchmarks whose truth is not told by labels alone."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

from ...structures import GroundTruth, Item, Task
from ...structures.ground_truth import LabeledSide
from ...structures.task import needed_depth, with_protocol

Rows = Sequence[Sequence[int]]


class Asked(NamedTuple):
    """What is asked, and of what.

    Args:
        protocol: the benchmark's name.
        definition: what is right, in a sentence.
        metrics: call strings of METRICS.
        places: how many places that are no junk the metrics need; 0 for the whole gallery.
        name: of the task, where there are several.
    """

    protocol: str
    definition: str
    metrics: tuple[str, ...]
    places: int = 0
    name: str = ""


def listed_task(
    asked: Asked,
    queries: Sequence[Item],
    gallery: Sequence[Item],
    right: Rows,
    junk: Rows | None = None,
) -> Task:
    """A task whose right images are listed.

    Args:
        asked: what is asked.
        queries, gallery: the images of both sides.
        right, junk: for each query the rows of the gallery; no junk when not given.
    """
    sides = LabeledSide.from_items(queries), LabeledSide.from_items(gallery)
    truth = GroundTruth.from_lists(*sides, right, junk)
    truth = with_protocol(truth, asked.protocol, asked.definition, asked.name)
    depth = needed_depth(truth, asked.places or len(gallery))
    return Task(asked.name, queries, gallery, truth, asked.metrics, depth)


def rows_by_label(labels: Sequence[str]) -> dict[str, list[int]]:
    """The rows of every label that is one."""
    rows: dict[str, list[int]] = collections.defaultdict(list)
    for row, label in enumerate(labels):
        if label:
            rows[label].append(row)
    return rows


def leave_one_out_task(asked: Asked, items: Sequence[Item], count_query: bool) -> Task:
    """Every image asks for those of its class.

    Args:
        asked: what is asked.
        items: the images.
        count_query: whether the query itself is right, as some benchmarks count; else it is junk.
    """
    labels = [item.label for item in items]
    rows = rows_by_label(labels)
    right = [
        [other for other in rows[label] if count_query or other != row]
        for row, label in enumerate(labels)
    ]
    junk = None if count_query else [[row] for row in range(len(labels))]
    return listed_task(asked, items, items, right, junk)
