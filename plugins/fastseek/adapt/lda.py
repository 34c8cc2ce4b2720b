"""Linear discriminants."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..registry import ADAPTERS
from ._class_moments import check_share, compute_moments, factor, shrink, sum_squares


@ADAPTERS.register()
class Lda:
    """The directions in which classes lie farthest apart, measured by how far their images do.

    Linear discriminant analysis: within a class every direction has
    variance 1. There are no more directions than classes less one.

    Args:
        shrinkage: share of a sphere in the covariance within classes; few images need much.
        dim: how many directions are kept; all when None.

    Raises:
        DataError: without shrinkage the images do not vary in every dimension.

    Source: Rao, The Utilization of Multiple Measurements in Problems of Biological Classification,
        1948
    Example: lda(shrinkage=0.3)
    """

    def __init__(self, shrinkage: float = 0.3, dim: int | None = None) -> None:
        if dim is not None and dim < 1:
            raise ValueError(f"dim must be 1 or more, got {dim}")
        self.shrinkage, self.dim = check_share(shrinkage), dim

    def __call__(self, vectors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and directions [dim, D]."""
        moments = compute_moments(vectors, classes)
        within = sum_squares(vectors, moments.means, classes) / len(vectors)
        lower = factor(shrink(within, self.shrinkage))
        shares = np.sqrt(moments.counts / len(vectors))[:, None]
        between = scipy.linalg.solve_triangular(
            lower, ((moments.means - moments.mean) * shares).T, lower=True
        )
        axes = np.linalg.svd(between, full_matrices=False)[0]
        kept = min(self.dim or len(moments.counts), len(moments.counts) - 1, axes.shape[1])
        directions = scipy.linalg.solve_triangular(lower, axes[:, :kept], lower=True, trans="T")
        return moments.mean, directions.T
