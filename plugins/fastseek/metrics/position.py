"""Where the first right image stands."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, legal_depths, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Position(OnHits):
    """Mean and median place, from 1, of the first right image; k + 1 where none is among the first
    k.

    A figure of the Google Landmark Retrieval challenge; a smaller one is better.

    Args:
        k: how many places count.

    Source: Google Landmark Retrieval challenge (kaggle.com/c/landmark-retrieval-2021)
    Example: position(k=100)
    """

    def __init__(self, k: int = 100) -> None:
        self.k = legal_depths((k,))[0]

    def score(self, hits: Hits) -> list[Score]:
        """Two scores, "position_mean(100)" and "position_median(100)"; the second is no mean over
        queries.
        """
        hits.need_depth(self.k, f"position({self.k})")
        # The challenge counts a miss as one place beyond the last.
        places = np.full(len(hits.relevant), self.k + 1.0)
        some = hits.found > 0
        places[some] = np.minimum(hits.places[hits.starts[:-1][some]], self.k + 1)
        average = mean(f"position_mean({self.k})", places, hits)
        middle = float(np.median(places[hits.counted]))
        return [
            average,
            dataclasses.replace(
                average, name=f"position_median({self.k})", value=middle, per_query=None
            ),
        ]
