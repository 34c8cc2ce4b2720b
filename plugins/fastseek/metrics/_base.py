"""What the rank metrics share: they read places only, and are means over the queries that have an
answer.
"""

from __future__ import annotations

import abc

import numpy as np

from ..errors import DataError
from ..structures import GroundTruth, Ranking, Score
from ._relevance_ranks import Hits, from_ranking


class OnHits(abc.ABC):
    """A metric that needs nothing but the places of the relevant images."""

    @abc.abstractmethod
    def score(self, hits: Hits) -> list[Score]:
        """The scores that follow from the places."""

    def __call__(self, ranking: Ranking, truth: GroundTruth) -> list[Score]:
        """The scores of a ranking."""
        return self.score(from_ranking(ranking, truth))


def mean(name: str, values: np.ndarray, hits: Hits) -> Score:
    """The mean over the counted queries; the others become NaN.

    Raises:
        DataError: no query has a relevant image in the gallery.
    """
    if not hits.counted.any():
        raise DataError(
            f"{name} is not defined: none of the {len(hits.relevant)} queries has a relevant image"
            f" in the gallery of {hits.gallery}; check labels and groups"
        )
    # NaN, not 0: a query without an answer must lower no mean, and no interval.
    per_query = np.where(hits.counted, values, np.nan)
    return Score(name, float(np.mean(per_query[hits.counted])), per_query, hits.protocol)


def first_within(hits: Hits, k: int) -> np.ndarray:
    """[Q] 1.0 where a relevant image stands among the first k."""
    first = np.full(len(hits.relevant), np.iinfo(np.int64).max)
    some = hits.found > 0
    first[some] = hits.places[hits.starts[:-1][some]]
    return (first <= k).astype(np.float64)


def legal_depths(ks: tuple[int, ...]) -> tuple[int, ...]:
    """The ks of a recipe.

    Raises:
        ValueError: there is none, or one is not a whole number of 1 or more.
    """
    if not ks or any(not isinstance(k, int) or k < 1 for k in ks):
        raise ValueError(f"k must be whole numbers of 1 or more, got {ks}")
    return ks
