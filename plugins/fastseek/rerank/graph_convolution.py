"""Messages passed along the graph of nearest neighbors, without training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array

from ..knn.nearest import nearest
from ..knn.sort_keys import id_order
from ..progress import progress
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import pick_vectors, sort_anew

Near = tuple[np.ndarray, np.ndarray]  # rows [N, K], best first, and their cosines [N, K] float64


class Graph(NamedTuple):
    """The gallery's side: `features`, one [N, N] for every layer but the last, rows of length 1;
    `messages` [N, N], who tells whom how loud; `last` [N], the cosine of the last image in each
    list of k1.
    """

    features: list[csr_array]
    messages: csr_array
    last: np.ndarray


@RERANKERS.register()
class GraphConvolution:
    """Score images by how alike the neighborhoods of query and image are, after neighbors have told
    theirs.

    Zhang et al., "Understanding Image Retrieval Re-Ranking: A Graph Neural Network Perspective", in
    its two steps. The graph: an image's feature is its row of A = (B + B^T) / 2, where B_ij is 1
    when j is among the k1 nearest of i, so 1 for neighbors of each other and 1/2 for one-sided ones.
    Propagation, `layers` times: h_i <- h_i + sum of cosine(i, j) ** alpha * h_j over the k2 nearest
    of i (itself counts as one of them), then h_i is divided by its length. The score is the inner
    product of the features of query and image.

    Unlike the paper, whose graph joins all queries, a query's answer does not depend on other
    queries: features and messages of the gallery come from the gallery alone, and a query is linked
    to its own k1 nearest. Images whose neighborhoods share nothing with the query's keep their order
    behind the others, with scores of -1 and less.

    Over the whole gallery (`over="gallery"`) the graph costs an exact search of the gallery in
    itself, and memory of at most 24 * k1 * k2 ** (layers - 1) bytes an image. `over="list"` makes
    it of the images listed for the query alone, at a cost that does not grow with the gallery.

    Args:
        k1: size of the neighborhoods.
        k2: how many neighbors pass a message, the image itself among them.
        alpha: power of the cosine; a negative cosine weighs nothing.
        layers: how often messages are passed.
        over: "gallery" or "list".

    Raises:
        ArtefactError: the ranking is not over these queries and this gallery.
        DataError: a vector is zero or not finite; names its id.

    Source: Zhang et al., Understanding Image Retrieval Re-Ranking: A Graph Neural Network
        Perspective, 2020 (arXiv 2012.07620)
    Example: graph_convolution(k1=26, k2=7)
    """

    def __init__(
        self, k1: int = 26, k2: int = 7, alpha: float = 2.0, layers: int = 2, over: str = "gallery"
    ) -> None:
        if k1 < 1 or k2 < 1 or alpha < 0 or layers < 0:
            raise ValueError(
                "k1 and k2 must be 1 or more, alpha and layers 0 or more; "
                f"got {k1}, {k2}, {alpha} and {layers}"
            )
        if over not in ("gallery", "list"):
            raise ValueError(f"over must be gallery or list, got {over!r}")
        self.k1, self.k2, self.alpha, self.layers, self.over = k1, k2, alpha, layers, over

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        scores = ranking.scores.astype(np.float64)
        lists = [row[row >= 0] for row in ranking.indices]
        score = self._score_in_gallery if self.over == "gallery" else self._score_in_lists
        for query, shared in enumerate(
            score(lists, queries, gallery) if ranking.indices.size else ()
        ):
            if len(shared):
                # What shares nothing keeps its order, below everything that shares something.
                old = scores[query, : len(shared)]
                scores[query, : len(shared)] = np.where(shared > 0, shared, old - old.max() - 1)
        return sort_anew(ranking, scores)

    def _score_in_gallery(
        self, lists: list[np.ndarray], queries: Embeddings, gallery: Embeddings
    ) -> Iterator[np.ndarray]:
        """Yield for every query the scores of its listed images."""
        # In the order of ids, so that not even rounding depends on the order of the gallery.
        order, place = id_order(gallery.known_ids)
        depth = max(self.k1, self.k2)
        near = nearest(gallery, gallery, depth, lowest=False)
        rows = place[near.rows[order]].astype(np.int64)
        graph = self.build_graph((rows, near.scores[order].astype(np.float64)))
        asked = nearest(queries, gallery, depth, lowest=False)
        for query, listed in enumerate(progress(lists, "graph convolution")):
            found = place[asked.rows[query]].astype(np.int64)
            cosines = asked.scores[query].astype(np.float64)
            yield self.score(graph, (found, cosines), place[listed].astype(np.int64))

    def _score_in_lists(
        self, lists: list[np.ndarray], queries: Embeddings, gallery: Embeddings
    ) -> Iterator[np.ndarray]:
        for query, listed in enumerate(progress(lists, "graph convolution")):
            if not len(listed):
                yield np.empty(0)
                continue
            images = pick_vectors(gallery, listed).astype(np.float64)
            asked = images @ pick_vectors(queries, np.array([query]))[0]
            graph = self.build_graph(_sort_rows(images @ images.T))
            found, cosines = _sort_rows(asked[None])
            yield self.score(graph, (found[0], cosines[0]), np.arange(len(listed)))

    def build_graph(self, near: Near) -> Graph:
        """The graph of images whose nearest are `near`, itself among them or not."""
        rows, cosines = near
        count, k1, k2 = len(rows), min(self.k1, rows.shape[1]), min(self.k2, rows.shape[1])
        others = rows != np.arange(count)[:, None]
        own = eye_array(count, format="csr")
        listed = _as_rows(rows[:, :k1], others[:, :k1].astype(np.float64), count) + own
        told = np.where(others, self._weigh(cosines), 0)[:, :k2]
        messages = (_as_rows(rows[:, :k2], told, count) + own).tocsr()
        features = [_scale((listed + listed.T).tocsr() / 2)]
        for _ in range(self.layers - 1):
            features.append(_scale(messages @ features[-1]))
        # Where a list holds every image, it would hold the query, too.
        full = self.k1 >= count
        last = np.full(count, -np.inf) if full else cosines[:, k1 - 1]
        return Graph(features, messages, last)

    def score(self, graph: Graph, near: Near, listed: np.ndarray) -> np.ndarray:
        """The inner products [n] float64 of a query with the images `listed` [n].

        Args:
            graph: of the gallery.
            near: the query's nearest images, one row [K] of each.
            listed: rows of the graph.
        """
        (rows, cosines), count = near, len(graph.last)
        links = np.where(cosines >= graph.last[rows], 1.0, 0.5)[: self.k1]
        asked = _scale(_as_rows(rows[None, : self.k1], links[None], count))
        # The query is the first of its own k2, as an image is of its.
        heard, weights = rows[: self.k2 - 1], self._weigh(cosines)[: self.k2 - 1]
        told = _as_rows(heard[None], weights[None], count)
        for features in graph.features[: self.layers]:
            asked = _scale(asked + told @ features)
        images = graph.features[-1][listed]
        if self.layers:
            images = _scale(graph.messages[listed] @ graph.features[-1])
        return np.asarray((images @ asked.T).toarray()[:, 0])

    def _weigh(self, cosines: np.ndarray) -> np.ndarray:
        return np.maximum(cosines, 0) ** self.alpha


def _sort_rows(cosines: np.ndarray) -> Near:
    order = np.argsort(-cosines, axis=1, kind="stable")
    return order, np.take_along_axis(cosines, order, axis=1)


def _as_rows(rows: np.ndarray, values: np.ndarray, count: int) -> csr_array:
    starts = np.arange(len(rows) + 1) * rows.shape[1]
    return csr_array((values.reshape(-1), rows.reshape(-1), starts), shape=(len(rows), count))


def _scale(features: csr_array) -> csr_array:
    """Rows of length 1; an empty row stays empty."""
    lengths = np.sqrt(features.multiply(features).sum(axis=1))
    return (diags_array(1 / np.where(lengths > 0, lengths, 1)) @ features).tocsr()
