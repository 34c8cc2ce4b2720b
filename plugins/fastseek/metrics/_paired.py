"""The difference of two scores, query by query."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..structures import Score, interval


@dataclasses.dataclass(frozen=True)
class Gain:
    """How much better a metric is than in the step before: 95 % interval over the queries, queries
    won and lost.
    """

    value: float
    span: tuple[float, float] | None
    wins: int = 0
    losses: int = 0


def gain(before: Score, after: Score) -> Gain:
    """The gain of a metric, paired query by query where it is a mean over queries."""
    value = after.value - before.value
    if (
        before.per_query is None
        or after.per_query is None
        or len(before.per_query) != len(after.per_query)
    ):
        return Gain(value, None)
    change = np.asarray(after.per_query) - np.asarray(before.per_query)
    counted = change[~np.isnan(change)]
    span = interval(change) if len(counted) > 1 else None
    return Gain(value, span, int((counted > 1e-12).sum()), int((counted < -1e-12).sum()))
