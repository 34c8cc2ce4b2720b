"""What re-rankers do with a ranking: check whose it is, put new scores in order."""

from __future__ import annotations

import re

import numpy as np

from ..errors import ArtefactError
from ..knn.sort_keys import EMPTY, id_order, places_of, scores_of, sort_keys
from ..knn.vectors import check_vectors
from ..structures import Embeddings, Ranking

ROWS = 4096  # queries sorted at once


def check_sides(ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> None:
    """Check that the ranking is over these queries and this gallery.

    Raises:
        ArtefactError: it is not.
    """
    for what, side, ids in (
        ("queries", queries, ranking.query_ids),
        ("gallery", gallery, ranking.gallery_ids),
    ):
        if not np.array_equal(side.ids, ids):
            raise ArtefactError(
                f"the ranking is not over these {what}: search again with the same embeddings"
            )


def check_cosine(ranking: Ranking) -> None:
    """Check that the ranking's scores are cosines, as far as its provenance tells how it was
    searched.

    Raises:
        ArtefactError: it was searched by another metric.
    """
    search = str(ranking.provenance.get("search", ""))
    told_as = re.search(r"metric=\W*(\w+)", search)
    if told_as and told_as[1] != "cosine":
        raise ArtefactError(
            f"the ranking was made by {search}, and this re-ranker takes its scores as cosines:"
            " search with metric='cosine'"
        )


def sort_anew(ranking: Ranking, scores: np.ndarray) -> Ranking:
    """The ranking with a new score for every answer, best first, equal scores in the order of the
    gallery ids.

    Args:
        ranking: stays as it is.
        scores: [Q, K], for the answers as the ranking lists them; what stands at an empty place is
            not read.
    """
    order, place = id_order(ranking.gallery_ids)
    indices, sorted_ = np.empty_like(ranking.indices), np.empty_like(ranking.scores)
    for start in range(0, len(indices) if indices.size else 0, ROWS):
        here = slice(start, start + ROWS)
        listed = ranking.indices[here]
        # As float32, which is what the ranking keeps: scores that become equal there stand by id.
        keys = sort_keys(scores[here].astype(np.float32), place[listed])
        keys = np.sort(np.where(listed < 0, EMPTY, keys), axis=1)
        sorted_[here] = scores_of(keys)
        indices[here] = np.where(
            keys == EMPTY, -1, order[np.minimum(places_of(keys), len(order) - 1)]
        )
    return Ranking(ranking.query_ids, ranking.gallery_ids, indices, sorted_)


def pick_vectors(side: Embeddings, rows: np.ndarray) -> np.ndarray:
    """Some vectors [n, D] float32 of length 1.

    Raises:
        DataError: one is zero or not finite; names its id.
    """
    return check_vectors(
        Embeddings(side.ids[rows], np.asarray(side.vectors[rows])), slice(None), "cosine"
    )
