"""The bootstrap interval of a global average precision, which is no mean over queries."""

from __future__ import annotations

import numpy as np


def gap_interval(
    scores: np.ndarray,
    right: np.ndarray,
    answered: np.ndarray,
    answerable: np.ndarray,
    *ties: np.ndarray,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentiles of the GAP of resampled queries.

    A query that is drawn twice brings its prediction and its landmark twice; the copies take up
    ranks of their own. Draws without any query that has an answer are left out. (Efron, Bootstrap
    methods: another look at the jackknife, 1979.)

    Args:
        scores, right: [P] of every prediction: its score, whether it is right.
        answered: [P] the number of the prediction's query.
        answerable: [Q] whether a query has a right answer at all.
        ties: arrays [P] that settle equal scores, as `gap.global_average_precision` takes them.
        seed, draws, level: as of `structures.interval`.

    Returns:
        low and high end; NaN twice when no query has an answer.
    """
    # Sorted once: a draw repeats or drops predictions, and never changes their order.
    order = np.lexsort((*reversed(ties), -np.asarray(scores)))
    owner, hit = np.asarray(answered)[order], np.asarray(right, bool)[order]
    random, values = np.random.default_rng(seed), []
    for _ in range(draws):
        times = np.bincount(
            random.integers(0, len(answerable), len(answerable)), minlength=len(answerable)
        )
        count = int(times[answerable].sum())
        if count:
            drawn = np.repeat(hit, times[owner])
            precision = np.cumsum(drawn) / np.arange(1, len(drawn) + 1)
            values.append(precision[drawn].sum() / count)
    if not values:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
