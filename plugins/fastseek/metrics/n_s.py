"""The score of Nistér and Stewénius."""

from __future__ import annotations

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, legal_depths, mean
from ._relevance_ranks import Hits
from .precision import found_within


@METRICS.register()
class NS(OnHits):
    """Mean over the queries of how many of the first four images are right, 0 to 4, no share.

    The query itself is in the gallery and counts as right, as every object of UKBench has four
    images.

    Args:
        k: how many places count.

    Source: Nistér and Stewénius, Scalable Recognition with a Vocabulary Tree, CVPR 2006
    Example: n_s()
    """

    def __init__(self, k: int = 4) -> None:
        self.k = legal_depths((k,))[0]

    def score(self, hits: Hits) -> list[Score]:
        """One score, "n_s"."""
        hits.need_depth(self.k, "n_s")
        name = "n_s" if self.k == 4 else f"n_s({self.k})"
        return [mean(name, found_within(hits, self.k).astype(float), hits)]
