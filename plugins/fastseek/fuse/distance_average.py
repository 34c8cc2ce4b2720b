"""A weighted average of distances, each model's brought to one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import FUSERS
from ..structures import Ranking
from ._linear import Linear
from ._members import Scale, keep_scores

SCALES = ("max", "zscore", "none")


@FUSERS.register()
class DistanceAverage(Linear):
    """Images by sum of weight * distance / sum of weights, the distance being minus the score,
    scaled per member.

    The scale is taken over all that a member lists, over all queries: "max" counts distances from
    its best score and divides by the largest, so they lie in 0..1; "zscore" takes off the mean and
    divides by the standard deviation; "none" leaves them. What a member does not list is as far as
    the last image it lists for that query: exact when every list holds the whole gallery. Huawei
    DIGIX 2020 image retrieval, third place.

    Args:
        weights: one a member; all 1 when None.
        scale: "max", "zscore" or "none".
        keep: answers a query gets; as many as the longest list when None.

    Source: Huawei DIGIX 2020 image retrieval, third place
    Example: distance_average(weights=(2, 1))
    """

    unlisted_is_last = True

    def __init__(
        self, weights: Sequence[float] | None = None, scale: str = "max", keep: int | None = None
    ) -> None:
        super().__init__(weights, keep)
        if scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
        self.how, self.adds_raw_scores = scale, scale == "none"

    def rate(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Minus the scaled distances."""
        return scores

    def pick_weights(self, members: int) -> np.ndarray:
        """[M] shares that add to 1."""
        weights = super().pick_weights(members)
        return weights / weights.sum()

    def find_scale(self, ranking: Ranking) -> Scale:
        """Where distances are counted from and what they are divided by."""
        listed = ranking.scores[ranking.indices >= 0].astype(np.float64)
        if self.how == "none" or not len(listed):
            return keep_scores(ranking)
        shift, divisor = (
            (listed.max(), np.ptp(listed)) if self.how == "max" else (listed.mean(), listed.std())
        )
        divisor = divisor or 1.0
        return Scale(float(shift), float(divisor), float((listed.min() - shift) / divisor))
