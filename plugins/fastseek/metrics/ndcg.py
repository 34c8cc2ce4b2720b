"""Normalized discounted cumulative gain."""

from __future__ import annotations

import numpy as np

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, legal_depths, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Ndcg(OnHits):
    """Mean over the queries of DCG / its largest value; DCG = sum over the right images of 1 /
    log2(1 + place).

    With k only the first k places count, in both. An image is right or not; there are no grades.

    Args:
        k: how many places count; all when None.

    Source: Järvelin and Kekäläinen, Cumulated Gain-based Evaluation of IR Techniques, TOIS 2002
    Example: ndcg(100)
    """

    def __init__(self, k: int | None = None) -> None:
        self.k = None if k is None else legal_depths((k,))[0]

    def score(self, hits: Hits) -> list[Score]:
        """One score, "ndcg(100)" or "ndcg"."""
        name = f"ndcg({self.k})" if self.k else "ndcg"
        depth = min(self.k or hits.gallery, hits.gallery)
        hits.need_depth(depth, name)
        gains = np.where(hits.places <= depth, 1 / np.log2(1 + hits.places), 0.0)
        query = np.repeat(np.arange(len(hits.relevant)), hits.found)
        found = np.bincount(query, gains, minlength=len(hits.relevant))
        most = np.minimum(hits.relevant, depth)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(2 + np.arange(most.max(initial=1))))])
        return [mean(name, found / np.where(most > 0, ideal[most], 1), hits)]
