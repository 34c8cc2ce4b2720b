"""Global average precision, the figure of landmark recognition."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..registry import METRICS
from ..structures import Ranking, Score, Truth
from .align import align
from .hits import JUNK, RELEVANT, kinds_of


@METRICS.register()
class Gap:
    """Global average precision (micro AP) of the first answer of every query (Weyand et al. 2020).

    Each query predicts the label of its best image that is no junk, with that image's score. All predictions are
    ranked together, equal scores by query id; GAP = 1/M * sum over the right ones of the precision up to their rank.
    M counts the queries with a relevant image; the others answer too, always wrongly, and take up ranks. Where the
    gallery has labels, an image without one predicts nothing and takes no rank.
    """

    def __call__(self, ranking: Ranking, truth: Truth) -> list[Score]:
        """One score, "gap", which is no mean over queries.

        Raises:
            ArtefactError: the ranking is not over the truth's queries and gallery.
            DataError: no query has a relevant image.
        """
        ranking = align(ranking, truth)
        answerable = np.diff(truth.relevant_starts) > 0
        if not answerable.any():
            raise DataError(f"gap is not defined: none of the {len(answerable)} queries has a relevant image")
        query, score, right = _predictions(ranking, truth)
        order = np.lexsort((ranking.query_ids[query], -score))
        hit = right[order]
        precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
        protocol = {**truth.protocol, "counted": int(answerable.sum()), "without_answer": int((~answerable).sum()),
                    "predictions": len(hit), "ties": "by query id"}
        return [Score("gap", float(precision[hit].sum() / answerable.sum()), None, protocol)]


def _predictions(ranking: Ranking, truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query rows that predict something, their scores, and whether they are right."""
    place = np.zeros(len(ranking.query_ids), np.int64)
    kind = np.full(len(ranking.query_ids), JUNK, np.int8)
    for here, kinds in kinds_of(ranking, truth):
        if kinds.shape[1]:
            place[here] = (kinds != JUNK).argmax(axis=1)
            kind[here] = np.take_along_axis(kinds, place[here, None], axis=1)[:, 0]
    query = np.flatnonzero(kind != JUNK)
    if (truth.gallery_labels != "").any() and len(query):
        query = query[truth.gallery_labels[ranking.indices[query, place[query]]] != ""]
    return query, ranking.scores[query, place[query]].astype(np.float64), kind[query] == RELEVANT
