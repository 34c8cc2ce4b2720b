"""k-reciprocal re-ranking."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array

from ..errors import ArtefactError
from ..nearest import (
    EMPTY,
    id_order,
    nearest,
    pair_scores,
    places_of,
    scores_of,
    similarities,
    sort_keys,
    together,
)
from ..progress import progress
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from .reciprocal import encode, own_first

CELLS = 1 << 22  # distances held at once


@RERANKERS.register()
class KReciprocal:
    """Re-rank by how far the k-reciprocal neighbourhoods of query and image overlap (Zhong et al., CVPR 2017).

    final = (1 - lambda) * Jaccard distance of the encoded neighbourhoods + lambda * squared distance divided by the
    query's largest, over queries and gallery together; the new score is minus that. Neighbours come from an exact
    search; memory grows with N = queries + gallery and never with N * N. The distance is Euclidean, "cosine" between
    vectors of unit length, "l2" between vectors as they are. Equal distances stand in the order of the ids.

    Args:
        k1: size of the neighbourhoods.
        k2: how many neighbours' encodings are averaged; 1 for none.
        lambda_: weight of the original distance, 0 to 1.
        metric: "cosine" or "l2".

    Raises:
        ArtefactError: the ranking is not over these queries and this gallery.
        DataError: a vector is not finite, or zero under "cosine"; names its id.
    """

    def __init__(self, k1: int = 20, k2: int = 6, lambda_: float = 0.3, metric: str = "cosine") -> None:
        if k1 < 1 or k2 < 1 or not 0 <= lambda_ <= 1:
            raise ValueError(f"k1 and k2 must be 1 or more and lambda_ in 0..1, got {k1}, {k2} and {lambda_}")
        if metric not in ("cosine", "l2"):
            raise ValueError(f"metric must be cosine or l2, got {metric!r}")
        self.k1, self.k2, self.lambda_, self.metric = k1, k2, lambda_, metric

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        for what, side, ids in (("queries", queries, ranking.query_ids), ("gallery", gallery, ranking.gallery_ids)):
            if not np.array_equal(side.ids, ids):
                raise ArtefactError(f"the ranking is not over these {what}: search again with the same embeddings")
        order, place = id_order(gallery.ids)
        indices, scores = np.empty_like(ranking.indices), np.empty_like(ranking.scores)
        for here, distances in self._distances(queries, gallery) if ranking.indices.size else ():
            listed = ranking.indices[here]
            keys = sort_keys(-np.take_along_axis(distances, np.maximum(listed, 0), axis=1), place[listed])
            keys = np.sort(np.where(listed < 0, EMPTY, keys), axis=1)
            scores[here] = scores_of(keys)
            indices[here] = np.where(keys == EMPTY, -1, order[np.minimum(places_of(keys), len(order) - 1)])
        call = f"k_reciprocal(k1={self.k1}, k2={self.k2}, lambda_={self.lambda_}, metric={self.metric!r})"
        passport = {**ranking.passport, "rerank": [*ranking.passport.get("rerank", []), call]}
        return Ranking(ranking.query_ids, ranking.gallery_ids, indices, scores, passport)

    def matrix(self, queries: Embeddings, gallery: Embeddings) -> np.ndarray:
        """Scores [Q, G] float32 of every gallery image, larger is better."""
        scores = np.empty((len(queries), len(gallery)), np.float32)
        for here, distances in self._distances(queries, gallery) if scores.size else ():
            np.negative(distances, out=scores[here])
        return scores

    def _distances(self, queries: Embeddings, gallery: Embeddings) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (queries, final distances [b, G] float32)."""
        both = together(queries, gallery, self.metric)
        metric = "ip" if self.metric == "cosine" else "l2"
        found = nearest(both, both, max(self.k1 + 1, self.k2), metric)
        longest = _squared(found.lowest, metric)
        longest[longest == 0] = 1  # all points are one: every distance is 0

        def scaled(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
            scores = pair_scores(both.vectors, both.vectors, rows, cols, metric, np.float32)
            return _squared(scores, metric) / longest[rows]

        encoded = encode(own_first(found.rows), self.k1, self.k2, scaled)
        asked, inverted = encoded[:len(queries)], encoded[len(queries):].T.tocsr()
        mine, theirs = both.vectors[:len(queries)], both.vectors[len(queries):]
        first = _first_equal(theirs)
        twins = (first != np.arange(len(first))).any()
        step = max(1, CELLS // len(gallery))
        for start in progress(range(0, len(queries), step), "re-ranking"):
            here = slice(start, min(start + step, len(queries)))
            scores, _ = similarities(mine[here], theirs, metric)
            distances = _squared(scores[:, first] if twins else scores, metric)
            distances *= self.lambda_ / longest[here, None]
            for row, query in zip(distances, range(here.start, here.stop), strict=True):
                row += (1 - self.lambda_) * _jaccard(asked, query, inverted)
            yield here, distances


def _squared(scores: np.ndarray, metric: str) -> np.ndarray:
    """Squared distances, in place, from scores; of unit vectors when the score is their inner product."""
    if metric == "ip":
        scores *= -2
        scores += 2
        return np.maximum(scores, 0, out=scores)
    return np.negative(scores, out=scores)


def _first_equal(vectors: np.ndarray) -> np.ndarray:
    """For every row the first row with the same values: a matrix product may tell equal vectors apart, ids must not."""
    whole_row = np.dtype((np.void, vectors.shape[1] * vectors.itemsize))
    rows = np.ascontiguousarray(vectors + np.float32(0)).view(whole_row).reshape(-1)
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    return first[group]


def _jaccard(asked: csr_array, query: int, inverted: csr_array) -> np.ndarray:
    """[G] Jaccard distances 1 - S / (2 - S), S = sum of the smaller weights, touching shared columns only."""
    mine = slice(asked.indptr[query], asked.indptr[query + 1])
    starts, stops = inverted.indptr[asked.indices[mine]], inverted.indptr[asked.indices[mine] + 1]
    counts = stops - starts
    ends = np.cumsum(counts)
    at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(stops - ends, counts)
    smaller = np.minimum(np.repeat(asked.data[mine], counts), inverted.data.take(at))
    shared = np.bincount(inverted.indices.take(at), smaller, minlength=inverted.shape[1])
    return 1 - shared / (2 - shared)
