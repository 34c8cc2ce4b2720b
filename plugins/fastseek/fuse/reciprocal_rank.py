"""Reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import FUSERS
from ._linear import Linear


@FUSERS.register()
class ReciprocalRank(Linear):
    """An image's score is the sum over the members of weight / (k + place) (Cormack, Clarke and
    Buettcher 2009).

    Args:
        k: how little the first places stand out.
        weights: one a member; all 1 when None.
        keep: answers a query gets; as many as the longest list when None.
        union: whether each member may have searched a gallery of its own.

    Source: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion Outperforms Condorcet and
        Individual Rank Learning Methods, SIGIR 2009
    Example: reciprocal_rank(k=60)
    """

    def __init__(
        self,
        k: float = 60,
        weights: Sequence[float] | None = None,
        keep: int | None = None,
        union: bool = False,
    ) -> None:
        super().__init__(weights, keep, union)
        if not 0 <= k < np.inf:
            raise ValueError(f"k must be 0 or more, got {k}")
        self.k = k

    def rate(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """One part in k plus the place."""
        return 1 / (float(self.k) + places)  # in whole numbers a large k would run over
