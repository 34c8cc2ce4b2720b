"""The cumulative match curve."""

from __future__ import annotations

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, first_within, legal_depths, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Cmc(OnHits):
    """Rank-k of the re-identification benchmarks: share of the queries whose first right answer is
    within k.

    Args:
        ks: the points of the curve, such as cmc(1, 5, 10).

    Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015
    Example: cmc(1, 5, 10)
    """

    def __init__(self, *ks: int) -> None:
        self.ks = legal_depths(ks)

    def score(self, hits: Hits) -> list[Score]:
        """One score a k, "cmc(1)"."""
        hits.need_depth(max(self.ks), f"cmc({max(self.ks)})")
        return [mean(f"cmc({k})", first_within(hits, k), hits) for k in self.ks]
