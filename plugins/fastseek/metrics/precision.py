"""Mean precision at k."""

from __future__ import annotations

import numpy as np

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, legal_depths, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Precision(OnHits):
    """Mean over the queries of right images among the first k, divided by k, for every k.

    After the end of a list its right images stay as many while k grows (Google Landmark Retrieval
    challenge).

    Args:
        ks: the depths, such as precision(1, 10, 100).

    Source: Google Landmark Retrieval challenge (kaggle.com/c/landmark-retrieval-2021)
    Example: precision(1, 10, 100)
    """

    def __init__(self, *ks: int) -> None:
        self.ks = legal_depths(ks)

    def score(self, hits: Hits) -> list[Score]:
        """One score a k, "precision(10)"."""
        hits.need_depth(max(self.ks), f"precision({max(self.ks)})")
        return [mean(f"precision({k})", found_within(hits, k) / k, hits) for k in self.ks]


def found_within(hits: Hits, k: int) -> np.ndarray:
    """[Q] how many relevant images stand among the first k."""
    query = np.repeat(np.arange(len(hits.relevant)), hits.found)
    return np.bincount(query[hits.places <= k], minlength=len(hits.relevant))
