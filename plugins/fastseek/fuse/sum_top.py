"""Sum of scores over the best of every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import FUSERS
from ._linear import Linear, check_count


@FUSERS.register()
class SumTop(Linear):
    """Keep the best `per_model` answers of every member, add the scores of each image, keep the
    best `keep` sums.

    An image that a member does not list gets 0 from it; scores are not scaled. Google Landmark
    Retrieval 2021, first place (arXiv 2110.03786).

    Args:
        per_model: how many answers of each member count.
        keep: answers a query gets.
        weights: one a member; all 1 when None.
        union: whether each member may have searched a gallery of its own.
    """

    def __init__(
        self,
        per_model: int = 750,
        keep: int | None = 100,
        weights: Sequence[float] | None = None,
        union: bool = False,
    ) -> None:
        super().__init__(weights, keep, union)
        self.depth = check_count("per_model", per_model)

    def rate(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The scores as they are."""
        return scores
