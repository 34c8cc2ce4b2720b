"""Mean modified precision at k."""

from __future__ import annotations

import numpy as np

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, legal_depths, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Mmp(OnHits):
    """Mean over the queries of right images among the first m places, divided by m, where m =
    min(right images of the query, k).

    So a query with fewer than k right images can reach 1: mMP@5 of universal embeddings.

    Args:
        k: how many places count at most.

    Source: Ypsilantis et al., Towards Universal Image Embeddings, ICCV 2023 (arXiv 2309.01858); Google
        Universal Image Embedding challenge, 2022
    Example: mmp(5)
    """

    def __init__(self, k: int = 5) -> None:
        self.k = legal_depths((k,))[0]

    def score(self, hits: Hits) -> list[Score]:
        """One score, "mmp(5)"."""
        hits.need_depth(min(self.k, int(hits.relevant.max(initial=1))), f"mmp({self.k})")
        most = np.minimum(hits.relevant, self.k)
        query = np.repeat(np.arange(len(most)), hits.found)
        right = np.bincount(query[hits.places <= most[query]], minlength=len(most))
        return [mean(f"mmp({self.k})", right / np.maximum(most, 1), hits)]
