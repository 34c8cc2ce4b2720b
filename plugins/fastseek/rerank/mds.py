"""Re-ranking in a space made for the best answers alone, by multidimensional scaling."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import score_lists

FLAT = 1e-9  # of the largest eigenvalue: what is less is rounding


@RERANKERS.register()
class Mds:
    """Lay out the query and its m best images by multidimensional scaling of their similarities, and
    score again there.

    After the global re-ranking of Aiger et al., "Global-to-Local or Local-to-Global?". With
    similarities s_ij = max(cosine, 0) ** gamma, squared distances D = 2 - 2 s are centered, B = -1/2
    J D J with J = I - 1/n; the `dims` largest eigenvalues of B and their eigenvectors give the
    points X = V sqrt(L) (classical scaling, Torgerson 1952). There the query is replaced by the mean
    of itself and the k images nearest to it, each image by the mean of itself and the k other images
    nearest to it; the score is minus the squared distance of the two means. Images beyond the m best
    stay behind them in their old order, their scores lowered where needed. A query's answer does not
    depend on other queries. Memory: the vectors of m images and a few m x m matrices; time: one
    eigenvalue problem of m + 1 rows a query.

    The paper takes its similarities from a search of local features and joins the points with global
    features; here both are the cosines of the vectors at hand, and points are compared alone.

    Args:
        m: how many of the best images are re-ranked.
        dims: of the space; all that are not flat when fewer.
        k: how many neighbors a point is averaged with; all others but one when fewer.
        gamma: power of the cosine.

    Raises:
        ArtefactError: the ranking is not over these queries and this gallery.
        DataError: a vector is zero or not finite; names its id.

    Source: Aiger et al., Global-to-Local or Local-to-Global? Enhancing Image Retrieval with
        Efficient Local Search and Effective Global Re-ranking, 2025 (arXiv 2509.04351)
    Example: mds(m=100, dims=32)
    """

    def __init__(self, m: int = 100, dims: int = 32, k: int = 9, gamma: float = 3.0) -> None:
        if m < 1 or dims < 1 or k < 0 or gamma <= 0:
            raise ValueError(
                "m and dims must be 1 or more, k 0 or more, gamma more than 0; "
                f"got {m}, {dims}, {k} and {gamma}"
            )
        self.m, self.dims, self.k, self.gamma = m, dims, k, gamma

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        return score_lists(ranking, queries, gallery, self.m, self.score)

    def score(self, cosines: np.ndarray) -> np.ndarray:
        """[n] float64 from the cosines [1 + n, 1 + n] of the query, which stands first, and its
        images.
        """
        near = np.clip(cosines, 0, 1) ** self.gamma
        np.fill_diagonal(near, 1)
        points = scale(2 - 2 * near, self.dims)
        distances = ((points[:, None] - points) ** 2).sum(axis=2)
        np.fill_diagonal(distances, -1)  # a point itself stands first
        distances[1:, 0] = np.inf  # the query is no image's neighbor
        count = min(self.k, len(points) - 2) + 1
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        means = points[order].mean(axis=1)
        return -((means[1:] - means[0]) ** 2).sum(axis=1)


def scale(distances: np.ndarray, dims: int) -> np.ndarray:
    """Points [n, at most dims] whose squared distances are near `distances` [n, n] (classical
    multidimensional scaling).
    """
    count = len(distances)
    centered = distances - distances.mean(axis=0)
    centered = -(centered - centered.mean(axis=1, keepdims=True)) / 2
    values, vectors = eigh(centered, subset_by_index=(max(0, count - dims), count - 1))
    # Beside the largest distance, so that images that are all the same are one point.
    kept = values > FLAT * max(1, distances.max()) * count
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
