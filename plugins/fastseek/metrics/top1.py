"""Top-1 accuracy."""

from __future__ import annotations

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, first_within, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Top1(OnHits):
    """Share of the queries with an answer whose first image that is no junk is right; no answer at
    all is wrong.

    Over landmark queries it is the accuracy of the Google Landmark Recognition challenge (Weyand et
    al. 2020).

    Source: Weyand et al., Google Landmarks Dataset v2, CVPR 2020 (arXiv 2004.01804)
    Example: top1()
    """

    def score(self, hits: Hits) -> list[Score]:
        """One score, "top1"."""
        hits.need_depth(1, "top1")
        return [mean("top1", first_within(hits, 1), hits)]
