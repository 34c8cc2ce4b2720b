"""The N-S score of UKBench."""

from __future__ import annotations

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, mean
from ._relevance_ranks import Hits
from .precision import found_within

SIZE = 4  # images of an object


@METRICS.register()
class Ukbench(OnHits):
    """Mean over the queries of how many of the first four images are right: 4 is the best, as the
    query itself is one of its four.

    Source: Nistér and Stewénius, Scalable Recognition with a Vocabulary Tree, CVPR 2006
    Example: ukbench()
    """

    def score(self, hits: Hits) -> list[Score]:
        """One score, "n_s", of 0 to 4."""
        hits.need_depth(SIZE, "n_s")
        return [mean("n_s", found_within(hits, SIZE).astype(float), hits)]
