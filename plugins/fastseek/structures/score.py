"""Score: one figure, and how far a mean could be off because the queries are a sample."""

from __future__ import annotations

import dataclasses

import numpy as np

from .archive import Provenance


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """One figure, what it rests on and how it was made.

    Args:
        name: as in a table, "map(100)".
        value: the figure, a share in 0..1.
        per_query: [Q] float64, NaN for a query that was not counted; None when the figure is no
            mean (GAP).
        protocol: what was counted and what was left out.
    """

    name: str
    value: float
    per_query: np.ndarray | None = None
    protocol: Provenance = dataclasses.field(default_factory=dict)


def interval(
    per_query: np.ndarray, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of a mean: percentiles of the means of resampled queries.

    Args:
        per_query: [Q] values; NaN for a query that is not counted.
        seed: of the resampling; the same seed gives the same interval.
        draws: how often it is resampled.
        level: the share of the means inside.

    Returns:
        low and high end; NaN twice when nothing is counted.

    Source: Efron, Bootstrap methods: another look at the jackknife, 1979.
    """
    values = np.asarray(per_query, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
