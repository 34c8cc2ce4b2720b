"""Sum of scores over the best of every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import FUSERS
from ..structures import Ranking
from ._linear import Linear, check_count
from ._members import Scale, keep_scores

SCALES = (None, "minmax")


@FUSERS.register()
class SumTop(Linear):
    """Keep the best `per_model` answers of every member, add the scores of each image, keep the
    best `keep` sums.

    An image that a member does not list gets 0 from it. Google Landmark Retrieval 2021, first
    place (arXiv 2110.03786), whose members all gave cosines, so nothing was scaled. Members whose
    scores spread further decide alone then, which a warning tells.

    Args:
        per_model: how many answers of each member count.
        keep: answers a query gets.
        weights: one a member; all 1 when None.
        union: whether each member may have searched a gallery of its own.
        scale: None adds scores as they are; "minmax" brings all that a member lists, over all
            queries, to 0..1 first (Lee, Analyses of multiple evidence combination, 1997).

    Source: Henkel, Efficient Large-Scale Image Retrieval with Deep Feature Orthogonality and
        Hybrid-Swin-Transformers, 2021 (arXiv 2110.03786)
    Example: sum_top(per_model=750, keep=100)
    """

    def __init__(
        self,
        per_model: int = 750,
        keep: int | None = 100,
        weights: Sequence[float] | None = None,
        union: bool = False,
        scale: str | None = None,
    ) -> None:
        super().__init__(weights, keep, union)
        self.depth = check_count("per_model", per_model)
        if scale not in SCALES:
            raise ValueError(f"scale must be 'minmax' or None, got {scale!r}")
        self.scale, self.adds_raw_scores = scale, scale is None

    def rate(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The scores, scaled as asked for."""
        return scores

    def find_scale(self, ranking: Ranking) -> Scale:
        """What is taken off a member's scores, and what they are divided by."""
        listed = ranking.scores[ranking.indices >= 0].astype(np.float64)
        if self.scale is None or not len(listed):
            return keep_scores(ranking)
        return Scale(float(listed.min()), float(np.ptp(listed)) or 1.0)
