"""Re-ranking of the best answers by global features alone."""

from __future__ import annotations

import numpy as np

from ..progress import progress
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import pick_vectors, score_best, sort_anew


@RERANKERS.register()
class SuperGlobal:
    """Refine the m best images by each other, expand the query by the best of them, and score
    again.

    Shao et al., "Global Features are All You Need for Image Retrieval and Reranking", ICCV 2023.
    With vectors of length 1: a refined image is the mean of itself (weight 1) and its k nearest
    among the m (weight beta * cosine, a negative one 0); the expanded query is the largest value,
    dimension by dimension, of the k + 1 refined images most similar to the query; score = (query .
    refined + expanded . refined) / 2. Images beyond the m best stay behind them in their old order,
    their scores lowered where needed. A query's answer does not depend on other queries. Memory:
    the vectors of m images and m x m similarities.

    Args:
        m: how many of the best images are re-ranked.
        k: how many neighbors refine an image; all of fewer.
        beta: weight of the neighbors.

    Raises:
        ArtefactError: the ranking is not over these queries and this gallery.
        DataError: a vector is zero or not finite; names its id.

    Source: Shao et al., Global Features are All You Need for Image Retrieval and Reranking, ICCV
        2023 (arXiv 2308.06954)
    Example: super_global(m=400, k=9)
    """

    def __init__(self, m: int = 400, k: int = 9, beta: float = 0.15) -> None:
        if m < 1 or k < 0 or beta < 0:
            raise ValueError(f"m must be 1 or more, k and beta 0 or more, got {m}, {k} and {beta}")
        self.m, self.k, self.beta = m, k, beta

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        scores = ranking.scores.astype(np.float64)
        for query in progress(range(len(queries)), "re-ranking"):
            best = ranking.indices[query, : self.m]
            best = best[best >= 0]
            if not len(best):
                continue
            asked = pick_vectors(queries, np.array([query]))[0].astype(np.float64)
            refined = self.score(asked, pick_vectors(gallery, best).astype(np.float64))
            score_best(scores[query], refined)
        return sort_anew(ranking, scores)

    def score(self, query: np.ndarray, images: np.ndarray) -> np.ndarray:
        """[n] float64 from vectors of length 1: one query [D], its best images [n, D]."""
        near = images @ images.T
        np.fill_diagonal(near, np.inf)  # the image itself stands first
        order = np.argsort(-near, axis=1, kind="stable")[:, : self.k + 1]
        weights = self.beta * np.clip(np.take_along_axis(near, order, axis=1), 0, 1)
        weights[:, 0] = 1
        refined = np.zeros_like(images)
        for place in range(order.shape[1]):
            refined += weights[:, place, None] * images[order[:, place]]
        refined /= weights.sum(axis=1, keepdims=True)
        first = refined @ query
        top = np.argsort(-first, kind="stable")[: self.k + 1]
        return (first + refined @ refined[top].max(axis=0)) / 2
