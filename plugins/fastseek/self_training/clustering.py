"""Clusters of unlabelled images, looked for separately in every known group."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import DataError, UsageError
from ..knn.centroids import check_same_length, mean_directions, nearest_centroids
from ..knn.graph import build_knn_graph, link_nearest
from ..knn.vectors import unit_rows
from ..structures import Embeddings

METHODS = ("kmeans", "hdbscan", "graph")
NEIGHBORS, LARGE = 10, 4  # of the kNN graph; a cluster has at most so many times `per` images
Find = Callable[[np.ndarray, int], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """A division of images.

    Args:
        numbers: int64 [N], the cluster of every image; -1 for noise.
        centroids: float32 [K, D] of length 1.
        groups: [K] the group each cluster was found in, "" where none is known.
        names: [K] the class a cluster is seeded with, "" for one nobody has named.
    """

    numbers: np.ndarray
    centroids: np.ndarray
    groups: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.centroids)


def cluster(
    vectors: np.ndarray,
    groups: Sequence[str] | None = None,
    per: float = 60,
    method: str = "kmeans",
    niter: int = 25,
    seed: int = 0,
    least: int = 5,
) -> Clusters:
    """Cluster images by direction, in every group (kingdom, phylum) by itself.

    The clusters of a group depend on its own images and the seed alone. Memory: one block of images
    x clusters.

    Args:
        vectors: [N, D], brought to length 1 here; labelled images may be among them.
        groups: [N] group of every image; None takes all together.
        per: images a cluster: a group of n gets max(1, round(n / per)) clusters.
        method: "kmeans", spherical k-means; "hdbscan" for few images: clusters of any number, and
            noise; or "graph" for millions: images that are among each other's 10 nearest (`per` / 2
            where that is less) are joined, the nearest first, to clusters of at most 4 * `per`;
            those of fewer than `least` are noise.
        niter: rounds of k-means.
        seed: of the first centroids.
        least: the smallest cluster of HDBSCAN and of the graph.

    Raises:
        UsageError: an illegal choice. DataError: no image, or a vector that is zero or not finite.
        ArtefactError: as many groups as vectors are needed.
    """
    if method not in METHODS or not per > 0 or niter < 1 or least < 2:
        raise UsageError(
            f"clusters need a method of {', '.join(METHODS)}, per > 0, niter >= 1 and least >= 2,"
            f" got {method!r}, {per}, {niter} and {least}"
        )
    check_same_length(vectors=vectors, groups=groups)
    if not len(vectors):
        raise DataError("there is no image to cluster")
    points = unit_rows(vectors)
    labels = np.asarray([""] * len(vectors) if groups is None else list(groups), str)
    numbers = np.full(len(points), -1, np.int64)
    centroids: list[np.ndarray] = []
    group_of: list[str] = []
    for group in np.unique(labels):
        rows = np.flatnonzero(labels == group)
        own = (seed + zlib.crc32(str(group).encode())) % 2**31
        if method == "kmeans":
            found = _by_kmeans(points[rows], _count(len(rows), per), niter, own)
        elif method == "graph":
            found = _by_graph(points[rows], per, least)
        else:
            found = _by_density(points[rows], least)
        kept, inside = np.unique(found[found >= 0], return_inverse=True)
        numbers[rows[found >= 0]] = len(group_of) + inside
        local = np.full(len(rows), -1, np.int64)
        local[found >= 0] = inside
        centroids.append(mean_directions(points[rows], local, len(kept)))
        group_of += [str(group)] * len(kept)
    names = ("",) * len(group_of)
    return Clusters(numbers, np.concatenate(centroids), tuple(group_of), names)


def _count(images: int, per: float) -> int:
    return min(images, max(1, round(images / per)))


def _by_kmeans(points: np.ndarray, k: int, niter: int, seed: int) -> np.ndarray:
    return nearest_centroids(points, kmeans(points, k, niter, seed))[0]


def kmeans(points: np.ndarray, k: int, niter: int = 25, seed: int = 0) -> np.ndarray:
    """Spherical k-means by faiss, by scikit-learn where that is missing.

    Args:
        points: [N, D] float32 of length 1.
        k: how many centroids, at most N.
        niter: rounds.
        seed: of the first centroids; another library gives other centroids for the same seed.

    Returns:
        centroids [k, D] float32 of length 1.
    """
    try:
        import faiss
    except ImportError:
        return _without_faiss(points, k, niter, seed)
    found = faiss.Kmeans(
        points.shape[1],
        k,
        niter=niter,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=max(256, -(-len(points) // k)),
    )
    found.train(np.ascontiguousarray(points))
    return unit_rows(np.asarray(found.centroids))


def _without_faiss(points: np.ndarray, k: int, niter: int, seed: int) -> np.ndarray:
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise UsageError("k-means needs faiss or scikit-learn: pip install faiss-cpu") from error
    found = KMeans(k, n_init=1, max_iter=niter, random_state=seed).fit(points)
    return unit_rows(found.cluster_centers_)


def _by_graph(points: np.ndarray, per: float, least: int) -> np.ndarray:
    """Mutual neighbors joined, the nearest first; -1 for what is in a small cluster."""
    named = Embeddings(np.char.zfill(np.arange(len(points)).astype(str), 10), points)
    graph = build_knn_graph(named, max(2, min(NEIGHBORS, round(per / 2))))
    assert graph is not None  # it has one part only
    found = link_nearest(graph, max(2, round(LARGE * per)))
    return np.where(np.bincount(found)[found] < least, -1, found)


def _by_density(points: np.ndarray, least: int) -> np.ndarray:
    """HDBSCAN on the chord, which grows with the angle; too few images are one cluster."""
    try:
        from sklearn.cluster import HDBSCAN
    except ImportError as error:
        raise UsageError("HDBSCAN needs scikit-learn: pip install scikit-learn") from error
    if len(points) < 2 * least:
        return np.zeros(len(points), np.int64)
    return HDBSCAN(min_cluster_size=least, copy=True).fit(points).labels_.astype(np.int64)
