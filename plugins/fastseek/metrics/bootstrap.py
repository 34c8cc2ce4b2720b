"""How far a mean over queries could be off because they are a sample."""

from __future__ import annotations

import numpy as np


def interval(per_query: np.ndarray, seed: int = 0, draws: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval of a mean: percentiles of the means of resampled queries.

    Args:
        per_query: [Q] values; NaN for a query that is not counted.
        seed: of the resampling; the same seed gives the same interval.
        draws: how often it is resampled.
        level: the share of the means inside.

    Returns:
        low and high end; NaN twice when nothing is counted.
    """
    values = np.asarray(per_query, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
