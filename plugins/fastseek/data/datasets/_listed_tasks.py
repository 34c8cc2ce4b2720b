"""Tasks of benchmarks whose truth is not told by labels alone."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from ...structures import GroundTruth, Item, ItemTable, Task
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
        junk: what is junk, in a word or two; "" for nothing.
        averages: over what the figures of several tasks are averaged, as of a `Task`.
    """

    protocol: str
    definition: str
    metrics: tuple[str, ...]
    places: int = 0
    name: str = ""
    junk: str = ""
    averages: tuple[str, ...] = ()


def listed_task(
    asked: Asked,
    queries: Sequence[Item],
    gallery: Sequence[Item],
    right: Rows,
    junk: Rows = (),
) -> Task:
    """A task whose right images are listed.

    Args:
        asked: what is asked.
        queries, gallery: the images of both sides.
        right, junk: for each query the rows of the gallery; no junk where nothing is given.
    """
    sides = LabeledSide.from_items(queries), LabeledSide.from_items(gallery)
    truth = GroundTruth.from_lists(*sides, right, junk)
    truth = with_protocol(truth, asked.protocol, asked.definition, asked.name)
    if asked.junk:
        truth = dataclasses.replace(truth, protocol={**truth.protocol, "junk": asked.junk})
    depth = needed_depth(truth, asked.places or len(gallery))
    return Task(asked.name, queries, gallery, truth, asked.metrics, depth, asked.averages)


def labels_of(items: Sequence[Item]) -> list[str]:
    """The label of every image; of a table no items are made."""
    if not isinstance(items, ItemTable):
        return [item.label for item in items]
    known = [*items.labels, ""]  # the last one stands for -1
    return [known[code] for code in items.codes.tolist()]


def rows_by_label(items: Sequence[Item]) -> dict[str, list[int]]:
    """The rows of every label that is one."""
    rows: dict[str, list[int]] = collections.defaultdict(list)
    for row, label in enumerate(labels_of(items)):
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
    labels, rows = labels_of(items), rows_by_label(items)
    right = [
        [other for other in rows[label] if count_query or other != row]
        for row, label in enumerate(labels)
    ]
    asked = asked if count_query else asked._replace(junk="the query itself")
    junk = [] if count_query else [[row] for row in range(len(labels))]
    return listed_task(asked, items, items, right, junk)
