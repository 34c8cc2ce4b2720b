"""Recall at k: how often a right answer is among the first k."""

from __future__ import annotations

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, first_within, legal_depths, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Recall(OnHits):
    """Share of the queries with a relevant image among the first k places, for every k (Jegou et
    al. 2011).

    Args:
        ks: the depths, such as recall(1, 10).

    Source: Jégou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, PAMI 2011
    Example: recall(1, 10)
    """

    def __init__(self, *ks: int) -> None:
        self.ks = legal_depths(ks)

    def score(self, hits: Hits) -> list[Score]:
        """One score a k, "recall(1)"."""
        hits.need_depth(max(self.ks), f"recall({max(self.ks)})")
        return [mean(f"recall({k})", first_within(hits, k), hits) for k in self.ks]
