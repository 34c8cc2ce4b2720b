"""k-reciprocal re-ranking that leaves the gallery as it is."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ..knn.nearest import nearest
from ..knn.vectors import pair_scores
from ..progress import progress
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ..structures.arrays import VectorArray
from ._base import sort_anew
from ._gallery_graph import GalleryGraph, UnitRows, read_vectors, squared_distances
from ._k_reciprocal_encoding import Distances, average_neighbors, expand
from ._sparse_jaccard import Overlaps

ROWS, FEW_ROWS = 2048, 256  # queries encoded at once; fewer where memory is to stay small


class Near(NamedTuple):
    """The nearest images [b, K] of some queries, and their scores."""

    rows: np.ndarray
    scores: np.ndarray


@RERANKERS.register()
class KReciprocalQuery:
    """`k_reciprocal` (Zhong et al., CVPR 2017) for a gallery that is not to be encoded anew with
    every query.

    What the gallery's images are to each other is found once, without any query, and kept. The
    neighborhood of a query is made of those of its k1 nearest images to which it is at least as
    near as their own k1-th nearest; it grows by the images' neighborhoods by the rule of two
    thirds, is weighted, and is averaged with those of the query's k2 - 1 nearest images. final = (1
    - lambda) * Jaccard distance of the neighborhoods of query and image + lambda * squared
    distance divided by the query's largest; the new score is minus that. A query stands in no
    image's neighborhood and not in its own, so figures differ a little from those of
    `k_reciprocal`; its answer does not depend on other queries. Memory: the gallery's vectors and
    its sparse encodings, linear in its size; where the graph is kept in a folder, all that is known
    of the gallery is mapped from there, and re-ranking takes some 16 bytes an image. For a folder,
    a gallery of more than 50,000 images is searched in itself cell by cell, see `build_knn_graph`.

    Args:
        k1: size of the neighborhoods.
        k2: how many encodings are averaged; 1 for none.
        lambda_: weight of the original distance, 0 to 1.
        metric: "cosine" or "l2".
        graph: .npz file, or folder, that keeps what is known of the gallery; written when it does
            not exist, checked against the gallery when it does. "" to find it anew in every run, at
            the price of a search of the gallery in itself.

    Raises:
        ArtefactError: ranking, embeddings and graph do not belong together.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017
        (arXiv 1701.08398)
    Example: k_reciprocal_query(k1=20, k2=6, graph='gallery.npz')
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
        graph, vectors = self._find_graph(gallery)
        sides = _Sides(read_vectors(queries, self.metric), vectors)
        found = nearest(queries, gallery, max(self.k1, self.k2 - 1), self.metric)
        longest = squared_distances(found.lowest, self.metric)
        longest[longest == 0] = 1  # all images are one and the query too
        averaged = _Averaged(graph, self.k2)
        half, step = graph.half, FEW_ROWS if graph.kept else ROWS
        overlaps = Overlaps(len(gallery))
        for start in progress(range(0, len(queries), step), "re-ranking"):
            run = np.arange(start, min(start + step, len(queries)))
            theirs, place = averaged.take(indices[run])
            near = Near(found.rows[run], found.scores[run])
            asked = self._encode(graph, half, near, self._scale(sides, run, longest))
            weights = asked.sum(axis=1)  # 1, or less where no image has the query among its nearest
            for row, query in enumerate(run):
                listed = indices[query][indices[query] >= 0]
                shared = overlaps.add_up(asked, row, theirs, place(listed))
                jaccard = 1 - shared / (1 + weights[row] - shared)
                pairs = np.full(len(listed), query), listed
                distance = self.lambda_ * sides.measure(*pairs, self.metric) / longest[query]
                scores[query, : len(listed)] = -(1 - self.lambda_) * jaccard - distance

    def _find_graph(self, gallery: Embeddings) -> tuple[GalleryGraph, VectorArray]:
        """What is known of the gallery, from file or folder or found anew, and its vectors."""
        settings = self.k1, self.k2, self.metric
        if self.graph and pathlib.Path(self.graph).suffix != ".npz":
            lazy = UnitRows(gallery, self.metric)
            return GalleryGraph.open_or_build(self.graph, gallery, lazy, *settings), lazy
        vectors = read_vectors(gallery, self.metric)
        if not self.graph:
            return GalleryGraph.build(gallery, vectors, *settings), vectors
        return GalleryGraph.load_or_build(self.graph, gallery, vectors, *settings), vectors

    def _scale(self, sides: _Sides, run: np.ndarray, longest: np.ndarray) -> Distances:
        """How far images [n] are from queries [n] of a run, as shares of the queries' longest."""

        def measure(rows: np.ndarray, images: np.ndarray) -> np.ndarray:
            owners = run[rows]
            return sides.measure(owners, images, self.metric, np.float32) / longest[owners]

        return measure

    def _encode(
        self, graph: GalleryGraph, half: csr_array, near: Near, distances: Distances
    ) -> csr_array:
        """The encodings [b, G] of some queries.

        Args:
            graph: what is known of the gallery.
            half: its reciprocal neighborhoods of half the size.
            near: the queries' nearest images.
            distances: called with rows [n] of the queries and images [n].
        """
        sets = expand(self._find_mutual(graph, near), half, np.diff(half.indptr))
        owner = np.repeat(np.arange(len(near.rows)), np.diff(sets.indptr))
        weights = np.exp(-distances(owner, sets.indices)).astype(np.float64)
        weights /= np.bincount(owner, weights, minlength=len(near.rows))[owner]
        own = csr_array((weights.astype(np.float32), sets.indices, sets.indptr), shape=sets.shape)
        others = near.rows[:, : self.k2 - 1]
        if not others.shape[1]:
            return own
        starts = np.arange(len(others) + 1) * others.shape[1]
        ones = np.ones(others.size, np.float32)
        lists = csr_array((ones, others.reshape(-1), starts), shape=sets.shape)
        total = (own + lists @ graph.encoded).tocsr()
        total.data /= np.float32(1 + others.shape[1])  # the mean of the query and its nearest
        return total

    def _find_mutual(self, graph: GalleryGraph, near: Near) -> csr_array:
        """R [b, G] of zeros and ones: the nearest images to which a query is near enough too."""
        rows, scores = near.rows[:, : self.k1], near.scores[:, : self.k1]
        mutual = scores >= graph.reach[rows]
        starts = np.concatenate([[0], np.cumsum(mutual.sum(axis=1))])
        ones = np.ones(int(starts[-1]), np.int32)
        return csr_array((ones, rows[mutual], starts), shape=(len(rows), len(graph.reach)))


class _Averaged:
    """The averaged encodings of a gallery: all of them, or where the graph is kept in a folder those
    of the images that are listed.
    """

    def __init__(self, graph: GalleryGraph, k2: int) -> None:
        self.graph, self.k2 = graph, k2
        self._all = None if graph.kept else average_neighbors(graph.encoded, graph.neighbors, k2)

    def take(self, indices: np.ndarray) -> tuple[csr_array, Callable[[np.ndarray], np.ndarray]]:
        """Encodings, and what gives the rows in them of some of the images of `indices`."""
        if self._all is not None:
            return self._all, lambda images: images
        some = np.unique(indices[indices >= 0])
        graph = self.graph
        made = average_neighbors(graph.encoded, graph.neighbors, self.k2, some)
        return made, lambda images: np.searchsorted(some, images)


class _Sides(NamedTuple):
    """The vectors of queries and gallery, of length 1 for "cosine"."""

    queries: np.ndarray
    gallery: VectorArray

    def measure(
        self, rows: np.ndarray, images: np.ndarray, metric: str, dtype: type = np.float64
    ) -> np.ndarray:
        """The squared distances of queries [n] and images [n]."""
        return squared_distances(
            pair_scores(self.queries, self.gallery, rows, images, metric, dtype), metric
        )
