"""Mean average precision."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, legal_depths, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Map(OnHits):
    """Mean over the queries of the average precision, AP = sum of the precision at each relevant
    image / their number.

    With k only the first k places count and the number is min(relevant images, k): mAP@100 of the
    Google Landmarks Retrieval challenge (Weyand et al. 2020). Without k it is the AP of the
    re-identification benchmarks. Relevant images beyond the end of the lists add nothing. Queries
    without a relevant image are not counted.

    Args:
        k: how many places count; all when None.
        trapezoid: take at each relevant image the mean of the precision before and after it, as the
            Oxford buildings benchmark and its heirs do (Philbin et al. 2007).

    Source: Philbin et al., Object Retrieval with Large Vocabularies and Fast Spatial Matching, CVPR
        2007; Weyand et al., Google Landmarks Dataset v2, CVPR 2020 (arXiv 2004.01804)
    Example: map(100)
    """

    def __init__(self, k: int | None = None, trapezoid: bool = False) -> None:
        self.k, self.trapezoid = None if k is None else legal_depths((k,))[0], trapezoid

    def score(self, hits: Hits) -> list[Score]:
        """One score, "map(100)" or "map"."""
        given = [
            *([str(self.k)] if self.k else []),
            *(["trapezoid=True"] if self.trapezoid else []),
        ]
        name = f"map({', '.join(given)})" if given else "map"
        # Lists cut on purpose are scored as they are, but none that junk cut.
        if self.k and self.k <= hits.depth:
            hits.need_depth(self.k, name)
        score = mean(name, average_precision(hits, self.k, self.trapezoid), hits)
        wanted = min(self.k or hits.gallery, hits.gallery)
        if hits.depth >= wanted or hits.found.sum() == hits.relevant.sum():
            return [score]
        cut = (
            f"lists of {hits.depth} of {hits.gallery} images: what stands below counts as not found"
        )
        return [dataclasses.replace(score, protocol={**score.protocol, "cut": cut})]


def average_precision(hits: Hits, k: int | None = None, trapezoid: bool = False) -> np.ndarray:
    """[Q] AP of every query, 0 for one without relevant images."""
    query = np.repeat(np.arange(len(hits.relevant)), hits.found)
    number = np.arange(len(hits.places)) - hits.starts[query] + 1
    precision = number / hits.places
    if trapezoid:
        before = np.divide(
            number - 1, hits.places - 1, out=np.ones(len(number)), where=hits.places > 1
        )
        precision = (before + precision) / 2
    most = hits.relevant
    if k is not None:
        precision = np.where(hits.places <= k, precision, 0)
        # No more than k can be found, so a list that finds k of many is whole.
        most = np.minimum(most, k)
    sums = np.bincount(query, precision, minlength=len(most))
    average: NDArray[np.float64] = sums / np.maximum(most, 1)
    return average
