"""The bootstrap interval of a mean."""

from __future__ import annotations

import numpy as np

from ..structures import Score


def interval(score: Score, level: float = 0.95, draws: int = 1000, seed: int = 0) -> tuple[float, float] | None:
    """Percentile bootstrap interval of a score that is a mean over queries; the same at every call.

    Args:
        score: `per_query` holds NaN for queries that were not counted.
        level: share of the resampled means inside the interval.
        draws: how many times the queries are drawn anew, with replacement.

    Returns:
        (low, high), or None when the score is no mean over at least two queries.

    Source: Efron, Bootstrap methods: another look at the jackknife, 1979.
    """
    if score.per_query is None:
        return None
    values = np.asarray(score.per_query, np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return None
    random = np.random.default_rng(seed)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
