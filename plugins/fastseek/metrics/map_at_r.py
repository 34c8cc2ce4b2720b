"""MAP@R of metric learning."""

from __future__ import annotations

import numpy as np

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, mean
from ._relevance_ranks import Hits


@METRICS.register()
class MapAtR(OnHits):
    """Mean over the queries of 1/R * sum over the first R places of the precision at each right
    one.

    R is the number of relevant images of the query (Musgrave, Belongie and Lim 2020, A Metric
    Learning Reality Check).

    Source: Musgrave, Belongie and Lim, A Metric Learning Reality Check, ECCV 2020 (arXiv
        2003.08505)
    Example: map_at_r()
    """

    def score(self, hits: Hits) -> list[Score]:
        """One score, "map_at_r"."""
        hits.need_depth(int(hits.relevant.max(initial=1)), "map_at_r")
        query = np.repeat(np.arange(len(hits.relevant)), hits.found)
        number = np.arange(len(hits.places)) - hits.starts[query] + 1
        precision = np.where(hits.places <= hits.relevant[query], number / hits.places, 0)
        values = np.bincount(query, precision, minlength=len(hits.relevant)) / np.maximum(
            hits.relevant, 1
        )
        return [mean("map_at_r", values, hits)]
