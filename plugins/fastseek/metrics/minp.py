"""Mean inverse negative penalty."""

from __future__ import annotations

import numpy as np

from ..errors import ArtefactError
from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, mean
from ._relevance_ranks import Hits


@METRICS.register()
class Minp(OnHits):
    """Mean over the queries of relevant images / place of the last of them (Ye et al. 2021,
    mINP).

    Source: Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, PAMI 2021
        (arXiv 2001.04193)
    Example: minp()
    """

    def score(self, hits: Hits) -> list[Score]:
        """One score, "minp".

        Raises:
            ArtefactError: a relevant image is in no list, so its place is unknown.
        """
        lost = int((hits.relevant - hits.found).sum())
        if lost:
            raise ArtefactError(
                f"minp needs the place of every relevant image, {lost} are not in the lists of "
                f"{hits.depth}: search with k={hits.gallery}"
            )
        return [mean("minp", inverse_penalty(hits), hits)]


def inverse_penalty(hits: Hits) -> np.ndarray:
    """[Q] relevant images / place of the last found one, 0 where none was found."""
    values = np.zeros(len(hits.relevant))
    some = hits.found > 0
    values[some] = hits.relevant[some] / hits.places[hits.starts[1:][some] - 1]
    return values
