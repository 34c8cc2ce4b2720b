"""What stands around every re-ranker: the check of what goes in, the provenance of what comes
out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..errors import RunError
from ..registry import Reranker
from ..structures import Embeddings, Ranking
from ..structures.listed_ids import ListedIds, same_ids
from ..structures.provenance import add_call, attach_provenance
from ._base import fit_sides, sort_anew

Answer = Ranking | np.ndarray | tuple[np.ndarray, np.ndarray]


def run(
    part: Reranker,
    compute: Callable[..., Answer],
    ranking: Ranking,
    queries: Embeddings,
    gallery: Embeddings,
) -> Ranking:
    """The ranking in another order.

    Args:
        part: the re-ranker.
        compute: called with the part and what follows, gives what the part itself returns.
        ranking: over these queries and this gallery.
        queries, gallery: the embeddings that were searched; more of them may be given, in another
            order.

    Raises:
        ArtefactError: they do not belong together.
        RunError: the part returned a ranking of something else.
    """
    queries, gallery = fit_sides(ranking, queries, gallery)
    if isinstance(ranking.gallery_ids, ListedIds):
        ranking = dataclasses.replace(ranking, gallery_ids=gallery.known_ids)
    made = _as_ranking(part, ranking, compute(part, ranking, queries, gallery))
    return attach_provenance(made, add_call(ranking.provenance, "rerank", part.call))


def _as_ranking(part: Reranker, ranking: Ranking, made: Answer) -> Ranking:
    if isinstance(made, tuple):
        indices, scores = made
        return Ranking(ranking.query_ids, ranking.gallery_ids, indices, scores)
    if not isinstance(made, Ranking):
        return sort_anew(ranking, _check_scores(part, ranking, made))
    for what, ids, given in (
        ("queries", made.query_ids, ranking.query_ids),
        ("gallery", made.gallery_ids, ranking.gallery_ids),
    ):
        if not same_ids(ids, given):
            raise RunError(f"{part.call} returned a ranking over other {what} than it was given")
    return made


def _check_scores(part: Reranker, ranking: Ranking, made: np.ndarray) -> np.ndarray:
    scores = np.asarray(made)
    if scores.shape != ranking.scores.shape or scores.dtype.kind not in "biuf":
        raise RunError(
            f"{part.call} returned {type(made).__name__} {scores.dtype} {scores.shape}; expected"
            f" scores {ranking.scores.shape}, (indices, scores) or a Ranking"
        )
    if np.isnan(scores[ranking.indices >= 0]).any():
        raise RunError(f"{part.call} gave an answer a score that is no number")
    return scores
