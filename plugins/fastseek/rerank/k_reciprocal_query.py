"""k-reciprocal re-ranking that leaves the gallery as it is."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from ..knn.nearest import nearest
from ..knn.vectors import pair_scores
from ..progress import progress
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import sort_anew
from ._gallery_graph import GalleryGraph, read_vectors, squared_distances
from ._k_reciprocal_encoding import average_neighbors, expand, find_reciprocal, halve
from ._sparse_jaccard import Overlaps

ROWS = 2048  # queries encoded at once


@RERANKERS.register()
class KReciprocalQuery:
    """`k_reciprocal` (Zhong et al., CVPR 2017) for a gallery that is not to be encoded anew with
    every query.

    What the gallery's images are to each other is found once, without any query, and kept. The
    neighbourhood of a query is made of those of its k1 nearest images to which it is at least as
    near as their own k1-th nearest; it grows by the images' neighbourhoods by the rule of two
    thirds, is weighted, and is averaged with those of the query's k2 - 1 nearest images. final = (1
    - lambda) * Jaccard distance of the neighbourhoods of query and image + lambda * squared
    distance divided by the query's largest; the new score is minus that. A query stands in no
    image's neighbourhood and not in its own, so figures differ a little from those of
    `k_reciprocal`; its answer does not depend on other queries. Memory: the gallery's vectors and
    its sparse encodings, linear in its size.

    Args:
        k1: size of the neighbourhoods.
        k2: how many encodings are averaged; 1 for none.
        lambda_: weight of the original distance, 0 to 1.
        metric: "cosine" or "l2".
        graph: .npz file that keeps what is known of the gallery; written when it does not exist,
            checked against the gallery when it does. "" to find it anew in every run, at the price
            of a search of the gallery in itself.

    Raises:
        ArtefactError: ranking, embeddings and graph do not belong together.
        DataError: a vector is not finite, or zero under "cosine"; names its id.
    """

    def __init__(
        self,
        k1: int = 20,
        k2: int = 6,
        lambda_: float = 0.3,
        metric: str = "cosine",
        graph: str = "",
    ) -> None:
        if k1 < 1 or k2 < 1 or not 0 <= lambda_ <= 1:
            raise ValueError(
                f"k1 and k2 must be 1 or more and lambda_ in 0..1, got {k1}, {k2} and {lambda_}"
            )
        if metric not in ("cosine", "l2"):
            raise ValueError(f"metric must be cosine or l2, got {metric!r}")
        self.k1, self.k2, self.lambda_, self.metric, self.graph = k1, k2, lambda_, metric, graph

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        scores = ranking.scores.astype(np.float64)
        if scores.size:
            self._fill(scores, ranking.indices, queries, gallery)
        return sort_anew(ranking, scores)

    def _fill(
        self, scores: np.ndarray, indices: np.ndarray, queries: Embeddings, gallery: Embeddings
    ) -> None:
        """Put the new scores in the place of the old ones."""
        theirs, mine = read_vectors(gallery, self.metric), read_vectors(queries, self.metric)
        settings = (gallery, theirs, self.k1, self.k2, self.metric)
        graph = (
            GalleryGraph.load_or_build(self.graph, *settings)
            if self.graph
            else GalleryGraph.build(*settings)
        )
        found = nearest(queries, gallery, max(self.k1, self.k2 - 1), self.metric)
        longest = squared_distances(found.lowest, self.metric)
        longest[longest == 0] = 1  # all images are one and the query too
        encoded = average_neighbors(graph.encoded, graph.neighbours, self.k2)
        half = find_reciprocal(graph.neighbours[:, : halve(self.k1) + 1])
        shared = Overlaps(len(gallery))
        for start in progress(range(0, len(queries), ROWS), "re-ranking"):
            here = slice(start, min(start + ROWS, len(queries)))
            asked = self._encode(
                graph, half, found.rows[here], found.scores[here], mine[here], theirs, longest[here]
            )
            weights = asked.sum(axis=1)  # 1, or less where no image has the query among its nearest
            for row, query in enumerate(range(here.start, here.stop)):
                listed = indices[query][indices[query] >= 0]
                overlap = shared.add_up(asked, row, encoded, listed)
                near = squared_distances(
                    pair_scores(mine, theirs, np.full(len(listed), query), listed, self.metric),
                    self.metric,
                )
                jaccard = 1 - overlap / (1 + weights[row] - overlap)
                scores[query, : len(listed)] = (
                    -(1 - self.lambda_) * jaccard - self.lambda_ * near / longest[query]
                )

    def _encode(
        self,
        graph: GalleryGraph,
        half: csr_array,
        rows: np.ndarray,
        near: np.ndarray,
        mine: np.ndarray,
        theirs: np.ndarray,
        longest: np.ndarray,
    ) -> csr_array:
        """The encodings [b, G] of some queries, from their nearest images and the scores of
        those.
        """
        count = len(graph.reach)
        mutual = near[:, : self.k1] >= graph.reach[rows[:, : self.k1]]
        starts = np.concatenate([[0], np.cumsum(mutual.sum(axis=1))])
        columns = rows[:, : self.k1][mutual]
        whole = csr_array(
            (np.ones(len(columns), np.int32), columns, starts), shape=(len(rows), count)
        )
        sets = expand(whole, half, np.diff(half.indptr))
        owner = np.repeat(np.arange(len(rows)), np.diff(sets.indptr))
        distances = squared_distances(
            pair_scores(mine, theirs, owner, sets.indices, self.metric, np.float32), self.metric
        )
        weights = np.exp(-distances / longest[owner]).astype(np.float64)
        weights /= np.bincount(owner, weights, minlength=len(rows))[owner]
        own = csr_array((weights.astype(np.float32), sets.indices, sets.indptr), shape=sets.shape)
        more = rows[:, : self.k2 - 1]
        if not more.shape[1]:
            return own
        ones = np.ones(more.size, np.float32)
        lists = csr_array(
            (ones, more.reshape(-1), np.arange(len(rows) + 1) * more.shape[1]), shape=sets.shape
        )
        total = (own + lists @ graph.encoded).tocsr()
        total.data /= np.float32(1 + more.shape[1])
        return total
