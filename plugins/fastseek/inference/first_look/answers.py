"""The nearest images of each, an image itself left out."""

from __future__ import annotations

import numpy as np

from ...retrieval import retrieve
from ...structures import Embeddings, Ranking


def find_answers(asked: Embeddings, gallery: Embeddings, own: np.ndarray, depth: int) -> Ranking:
    """Rank the gallery for every query.

    Args:
        asked, gallery: of one model.
        own: [Q] the gallery row that a query is itself, -1 where it is none.
        depth: answers of each query at most.

    Returns:
        the ranking; a query's own row is in none of its answers.
    """
    ranking = retrieve(asked, gallery, f"exact(k={depth + 1})")[0]
    itself = (ranking.indices == own[:, None]) & (own[:, None] >= 0)
    indices = np.where(itself, -1, ranking.indices)
    scores = np.where(itself, -np.inf, ranking.scores)
    order = np.argsort(indices < 0, axis=1, kind="stable")[:, :depth]
    return Ranking(
        ranking.query_ids,
        ranking.gallery_ids,
        np.take_along_axis(indices, order, axis=1),
        np.take_along_axis(scores, order, axis=1),
        ranking.provenance,
    )
