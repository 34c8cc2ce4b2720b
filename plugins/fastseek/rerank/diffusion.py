"""Diffusion on the graph of nearest neighbors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import cg

from ..knn.nearest import nearest
from ..knn.sort_keys import id_order
from ..progress import progress
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import pick_vectors, sort_anew

STEPS = 1000
Walk = tuple[np.ndarray, np.ndarray]
logger = logging.getLogger("fastseek")


class Graph(NamedTuple):
    """I - alpha S [N, N], and the number of the connected part every image is in [N]."""

    matrix: csr_array
    parts: np.ndarray


@RERANKERS.register()
class Diffusion:
    """Score images by a random walk that starts at the query's nearest images and walks among near
    images.

    Iscen et al., "Efficient Diffusion on Region Manifolds", CVPR 2017, for global features. Images
    that are in each other's k nearest are joined with weight max(cosine, 0) ** gamma, the matrix A;
    S = D^-1/2 A D^-1/2 with D the row sums; the score is f of (I - alpha S) f = (1 - alpha) y,
    found by conjugate gradients, where y is max(cosine, 0) ** gamma for the query's `seeds` nearest
    images and 0 elsewhere. Images that the walk does not reach keep their order behind those it
    does, with scores of -1 and less. A query's answer does not depend on other queries.

    Over the whole gallery (`over="gallery"`) the graph costs an exact search of the gallery in
    itself, and memory of about 50 bytes * k * images. `over="list"` walks among the images listed
    for the query only, at a cost that does not grow with the gallery.

    Args:
        k: how many neighbors an image may be joined with.
        seeds: where the walk starts.
        alpha: how far it goes, from 0 to less than 1.
        gamma: power of the cosine.
        over: "gallery" or "list".
        tolerance: how small the residual must be beside the right side.

    Raises:
        ArtefactError: the ranking is not over these queries and this gallery.
        DataError: a vector is zero or not finite; names its id.

    Source: Iscen et al., Efficient Diffusion on Region Manifolds, CVPR 2017 (arXiv 1611.05113)
    Example: diffusion(k=50)
    """

    def __init__(
        self,
        k: int = 50,
        seeds: int = 10,
        alpha: float = 0.99,
        gamma: float = 3.0,
        over: str = "gallery",
        tolerance: float = 1e-6,
    ) -> None:
        if k < 1 or seeds < 1 or gamma < 0 or tolerance <= 0:
            raise ValueError(
                "k and seeds must be 1 or more, gamma 0 or more, tolerance more than 0; "
                f"got {k}, {seeds}, {gamma} and {tolerance}"
            )
        if not 0 <= alpha < 1:
            raise ValueError(f"alpha must be from 0 to less than 1, got {alpha}")
        if over not in ("gallery", "list"):
            raise ValueError(f"over must be gallery or list, got {over!r}")
        self.k, self.seeds, self.alpha, self.gamma = k, seeds, alpha, gamma
        self.over, self.tolerance = over, tolerance

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        scores = ranking.scores.astype(np.float64)
        walks = self._walk_gallery if self.over == "gallery" else self._walk_lists
        lists = [row[row >= 0] for row in ranking.indices]
        for query, (walked, reached) in enumerate(
            walks(lists, queries, gallery) if ranking.indices.size else ()
        ):
            if len(walked):
                # What no walk reaches keeps its order, below everything that one does.
                old = scores[query, : len(walked)]
                scores[query, : len(walked)] = np.where(reached, walked, old - old.max() - 1)
        return sort_anew(ranking, scores)

    def _walk_gallery(
        self, lists: list[np.ndarray], queries: Embeddings, gallery: Embeddings
    ) -> Iterator[Walk]:
        """Yield for every query what its listed images get; the graph is in the order of ids, not
        the gallery's.
        """
        # In the order of ids, so that not even rounding depends on the order of the gallery.
        order, place = id_order(gallery.known_ids)
        near = nearest(gallery, gallery, self.k + 1, lowest=False)
        graph = self.build_graph(place[near.rows[order]].astype(np.int64), near.scores[order])
        start = nearest(queries, gallery, self.seeds, lowest=False)
        for query, rows in enumerate(progress(lists, "diffusion")):
            walked, reached = self.walk(graph, place[start.rows[query]], start.scores[query])
            yield walked[place[rows]], reached[place[rows]]

    def _walk_lists(
        self, lists: list[np.ndarray], queries: Embeddings, gallery: Embeddings
    ) -> Iterator[Walk]:
        for query, rows in enumerate(progress(lists, "diffusion")):
            if not len(rows):
                yield np.empty(0), np.empty(0, bool)
                continue
            images = pick_vectors(gallery, rows).astype(np.float64)
            start = images @ pick_vectors(queries, np.array([query]))[0]
            near = images @ images.T
            seeds = np.argsort(-start, kind="stable")[: self.seeds]
            lists_of_near = np.argsort(-near, axis=1, kind="stable")[:, : self.k + 1]
            graph = self.build_graph(lists_of_near, np.take_along_axis(near, lists_of_near, axis=1))
            yield self.walk(graph, seeds, start[seeds])

    def build_graph(self, rows: np.ndarray, cosines: np.ndarray) -> Graph:
        """The graph of images whose nearest are `rows` [N, K], itself among them or not, at
        `cosines` [N, K].
        """
        count = len(rows)
        weights = self._weigh(cosines)
        weights[rows == np.arange(count)[:, None]] = 0
        starts = np.arange(count + 1) * rows.shape[1]
        lists = csr_array((weights.reshape(-1), rows.reshape(-1), starts), shape=(count, count))
        # A link counts only where both images have it: hubs, near to everything, lose theirs.
        joined = lists.minimum(lists.T.tocsr()).tocsr()
        joined.eliminate_zeros()
        sums = joined.sum(axis=1)
        roots = diags_array(np.where(sums > 0, 1 / np.sqrt(np.where(sums > 0, sums, 1)), 0))
        matrix = eye_array(count, format="csr") - self.alpha * (roots @ joined @ roots)
        return Graph(matrix.tocsr(), connected_components(joined, directed=False)[1])

    def walk(self, graph: Graph, seeds: np.ndarray, cosines: np.ndarray) -> Walk:
        """f [N] float64, and which images the walk can reach [N]."""
        start = np.zeros(len(graph.parts))
        start[seeds] = self._weigh(cosines)
        walked, failed = cg(
            graph.matrix, (1 - self.alpha) * start, rtol=self.tolerance, maxiter=STEPS
        )
        if failed:
            logger.warning(
                "diffusion: a walk did not settle within %d steps; raise tolerance or lower alpha",
                STEPS,
            )
        return np.maximum(walked, 0), np.isin(graph.parts, graph.parts[start > 0])

    def _weigh(self, cosines: np.ndarray) -> np.ndarray:
        return np.maximum(cosines, 0).astype(np.float64) ** self.gamma
