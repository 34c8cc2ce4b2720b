"""The figures of revisited Oxford and Paris."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, legal_depths, mean
from ._relevance_ranks import Hits
from .map import average_precision


@METRICS.register()
class Revisited(OnHits):
    """mAP with trapezoids and mP@k of revisited Oxford and Paris (Radenovic et al. 2018).

    Junk is taken out before places are counted, queries without a right image are left out. mP@k
    divides the right images within the first k by k, or by the place of the last right image if
    that is smaller. What is right and what is junk under Easy, Medium and Hard is said by the
    truth.

    Args:
        ks: the depths of mP.

    Source: Radenovic et al., Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking,
        CVPR 2018 (arXiv 1803.11285)
    Example: revisited(1, 5, 10)
    """

    def __init__(self, *ks: int) -> None:
        self.ks = legal_depths(ks or (1, 5, 10))

    def score(self, hits: Hits) -> list[Score]:
        """ "revisited_map" and one score a k, "revisited_mp(10)"."""
        hits.need_depth(max(self.ks), f"revisited_mp({max(self.ks)})")
        return [
            mean("revisited_map", average_precision(hits, trapezoid=True), hits),
            *(mean(f"revisited_mp({k})", _precision(hits, k), hits) for k in self.ks),
        ]


def _precision(hits: Hits, k: int) -> np.ndarray:
    # Where the last right image is not listed, it stands below the first k.
    last = np.full(len(hits.relevant), k)
    some = (hits.found > 0) & (hits.found == hits.relevant)
    last[some] = hits.places[hits.starts[1:][some] - 1]
    depth = np.minimum(last, k)
    query = np.repeat(np.arange(len(depth)), hits.found)
    right = np.bincount(query[hits.places <= depth[query]], minlength=len(depth))
    precision: NDArray[np.float64] = right / depth
    return precision
