"""Global average precision, the figure of landmark recognition."""

from __future__ import annotations

import numpy as np

from ..errors import ArtefactError, DataError
from ..registry import METRICS
from ..structures import GroundTruth, Ranking, Score
from ._align import align
from ._relevance_ranks import JUNK, RELEVANT, in_the_way, kinds_of


@METRICS.register()
class Gap:
    """Global average precision (micro AP) of the first answer of every query (Weyand et al. 2020).

    Each query predicts the label of its best image that is no junk, with that image's score. All
    predictions are ranked together, equal scores by query id; GAP = 1/M * sum over the right ones
    of the precision up to their rank. M counts the queries with a relevant image; the others answer
    too, always wrongly, and take up ranks. Where the gallery has labels, an image without one
    predicts nothing and takes no rank.

    Args:
        ignore_empty: leave out the answers of queries without a relevant image, so that they take
            up no ranks.

    Source: Weyand et al., Google Landmarks Dataset v2, CVPR 2020 (arXiv 2004.01804)
    Example: gap()
    """

    def __init__(self, ignore_empty: bool = False) -> None:
        if not isinstance(ignore_empty, bool):
            raise ValueError(f"ignore_empty must be True or False, got {ignore_empty!r}")
        self.ignore_empty = ignore_empty

    def __call__(self, ranking: Ranking, truth: GroundTruth) -> list[Score]:
        """One score, "gap" or "gap(ignore_empty=True)", which is no mean over queries.

        Raises:
            ArtefactError: the ranking is not over the truth's queries and gallery, or a list holds
                nothing but junk.
            DataError: no query has a relevant image.
        """
        ranking = align(ranking, truth)
        answerable = np.diff(truth.relevant_starts) > 0
        if not answerable.any():
            raise DataError(
                f"gap is not defined: none of the {len(answerable)} queries has a relevant image"
            )
        query, score, right = _predictions(ranking, truth)
        if self.ignore_empty:
            query, score, right = (part[answerable[query]] for part in (query, score, right))
        value = global_average_precision(
            score, right, int(answerable.sum()), ranking.query_ids[query]
        )
        protocol = {
            **truth.protocol,
            "counted": int(answerable.sum()),
            "without_answer": int((~answerable).sum()),
            "predictions": len(right),
            "ties": "by query id",
            "ignore_empty": self.ignore_empty,
        }
        return [
            Score("gap(ignore_empty=True)" if self.ignore_empty else "gap", value, None, protocol)
        ]


def global_average_precision(
    scores: np.ndarray, right: np.ndarray, answerable: int, *ties: np.ndarray
) -> float:
    """Sum of the precision up to every right prediction, all ranked together, divided by
    `answerable`.

    Args:
        scores: [P], larger is surer.
        right: [P] bools.
        answerable: how many queries have a right answer at all.
        ties: arrays [P] that settle equal scores, smaller first, the most important one first.
    """
    hit = right[np.lexsort((*reversed(ties), -scores))]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].sum() / answerable)


def _predictions(ranking: Ranking, truth: GroundTruth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query rows that predict something, their scores, and whether they are right."""
    place = np.zeros(len(ranking.query_ids), np.int64)
    kind = np.full(len(ranking.query_ids), JUNK, np.int8)
    for here, kinds in kinds_of(ranking, truth):
        if kinds.shape[1]:
            # 0 where there is nothing but junk; that kind is JUNK, and the query is dropped below.
            place[here] = (kinds != JUNK).argmax(axis=1)
            kind[here] = np.take_along_axis(kinds, place[here, None], axis=1)[:, 0]
    _refuse_junk_alone(ranking, truth, kind == JUNK)
    query = np.flatnonzero(kind != JUNK)
    if (truth.gallery_labels != "").any() and len(query):
        query = query[truth.gallery_labels[ranking.indices[query, place[query]]] != ""]
    return query, ranking.scores[query, place[query]].astype(np.float64), kind[query] == RELEVANT


def _refuse_junk_alone(ranking: Ranking, truth: GroundTruth, without: np.ndarray) -> None:
    """A query whose list ends before its first image that is no junk would predict nothing."""
    depth = ranking.indices.shape[1]
    cut = in_the_way(ranking, truth, np.where(without, depth, 0))
    if cut.any():
        raise ArtefactError(
            f"gap needs the best image that is no junk; all {depth} listed for query "
            f"{str(ranking.query_ids[cut.argmax()])!r} are junk: search deeper"
        )
