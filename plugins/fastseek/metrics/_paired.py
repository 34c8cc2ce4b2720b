"""The difference of two scores, query by query: the one paired comparison of all tables."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..structures import Score, interval
from ..structures.score import check_same_protocol

SAME = 1e-12  # differences up to here are rounding


@dataclasses.dataclass(frozen=True)
class Gain:
    """How much better a metric is than before.

    Args:
        value: the difference of the two figures.
        span: its 95 % bootstrap interval over the queries; None where the metric is no mean over
            two or more.
        wins, losses, ties: queries that got better, got worse, stayed.
    """

    value: float
    span: tuple[float, float] | None
    wins: int = 0
    losses: int = 0
    ties: int = 0


def gain(before: Score, after: Score, seed: int = 0) -> Gain:
    """The gain of a metric, paired query by query where it is a mean over queries.

    Pairing takes out what makes queries easy or hard, so that the interval of the difference is
    far narrower than those of the two figures.

    Args:
        before, after: the same metric over the same queries in the same order.
        seed: of the bootstrap.

    Raises:
        ArtefactError: they are of different protocols.
    """
    check_same_protocol(before, after)
    value = after.value - before.value
    if (
        before.per_query is None
        or after.per_query is None
        or len(before.per_query) != len(after.per_query)
    ):
        return Gain(value, None)
    change = np.asarray(after.per_query) - np.asarray(before.per_query)
    counted = change[~np.isnan(change)]
    span = interval(change, seed) if len(counted) > 1 else None
    wins, losses = int((counted > SAME).sum()), int((counted < -SAME).sum())
    return Gain(value, span, wins, losses, len(counted) - wins - losses)
