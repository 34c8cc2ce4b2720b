"""Task: queries, a gallery, what is right, and the figures that are asked for."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from .ground_truth import GroundTruth
from .item import Item

AVERAGES = ("tasks", "queries")


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One question of a benchmark, such as the Hard one of revisited Oxford.

    Args:
        name: "" for a benchmark's only task, else such as "hard", "small" or "split3".
        queries, gallery: the images, in the order of the truth; an image may stand on both sides.
        truth: what is right and what is junk; its protocol names the protocol, see `with_protocol`.
        metrics: call strings of METRICS.
        depth: how many places of each list the metrics need, junk included.
        averages: over what figures of all tasks of the benchmark are averaged: "tasks" (the mean of
            their figures, as of ten random splits), "queries" (the mean over the queries of all).

    Raises:
        DataError: a side is empty or is not the truth's, the truth names no protocol, or depth or
            metrics are none.
    """

    name: str
    queries: Sequence[Item]
    gallery: Sequence[Item]
    truth: GroundTruth
    metrics: tuple[str, ...]
    depth: int
    averages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"task {self.name!r}" if self.name else "the task"
        sides = (
            ("queries", self.queries, self.truth.query_ids),
            ("gallery", self.gallery, self.truth.gallery_ids),
        )
        for what, items, ids in sides:
            if not len(items):
                raise DataError(f"{where}: {what} is empty, so nothing can be scored")
            if len(items) != len(ids):
                raise DataError(f"{where}: {what} has {len(items)} images, the truth {len(ids)}")
            ends = (items[0].id, items[-1].id)  # all would make every row of a large table
            if ends != (str(ids[0]), str(ids[-1])):
                raise DataError(f"{where}: {what} is not in the order of the truth")
        if not self.protocol:
            raise DataError(f"{where}: its truth names no protocol: GroundTruth.with_protocol")
        if not self.metrics or self.depth < 1:
            raise DataError(f"{where}: metrics {self.metrics} over {self.depth} places")
        if set(self.averages) - set(AVERAGES):
            raise DataError(f"{where}: averages are {AVERAGES}, got {self.averages}")

    @property
    def protocol(self) -> str:
        """The name of the protocol."""
        return str(self.truth.protocol.get("protocol", ""))


def with_protocol(
    truth: GroundTruth, protocol: str, definition: str, task: str = ""
) -> GroundTruth:
    """The same truth, which tells beside every score by which protocol it is.

    Args:
        truth: its arrays are shared.
        protocol: as a call string of PROTOCOLS, without the arguments that only choose figures; or
            the benchmark's own name, such as "revisited".
        definition: what is asked and what is right, in a sentence.
        task: which of several tasks, such as "hard".
    """
    named = {"protocol": protocol, "definition": definition} | ({"task": task} if task else {})
    other = copy.copy(truth)
    object.__setattr__(other, "protocol", {**truth.protocol, **named})
    return other


def needed_depth(truth: GroundTruth, places: int) -> int:
    """How long lists must be for so many places that are no junk: at most the whole gallery."""
    junk = int(np.diff(truth.junk_starts).max(initial=0))
    return max(1, min(places + junk, len(truth.gallery_ids)))
