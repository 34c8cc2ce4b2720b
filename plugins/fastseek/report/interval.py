"""The bootstrap interval of a score."""

from __future__ import annotations

import numpy as np

from ..structures import Score
from ..structures import interval as of_mean


def interval(score: Score) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of a score, or None when it is no mean over at least two
    queries.
    """
    if score.per_query is None or np.count_nonzero(~np.isnan(score.per_query)) < 2:
        return None
    return of_mean(score.per_query)
