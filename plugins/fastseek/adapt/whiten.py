"""Whitening without labels."""

from __future__ import annotations

import numpy as np

from ..registry import ADAPTERS
from ._class_moments import check_share, shrink, sum_squares
from ._whitening import check_dim, whiten_by


@ADAPTERS.register()
class Whiten:
    """Every direction gets the same variance; labels are not used.

    What `whiten` among the enhancers does, with shrinkage, which sets of fewer images than ten
    times the dimension need.

    Args:
        shrinkage: share of a sphere in the covariance.
        dim: how many directions are kept, the widest; all when None.

    Raises:
        DataError: without shrinkage the images do not vary in every dimension.

    Source: Jégou and Chum, Negative Evidences and Co-occurrences in Image Retrieval, ECCV 2012
    Example: whiten(shrinkage=0.3)
    """

    def __init__(self, shrinkage: float = 0.3, dim: int | None = None) -> None:
        self.shrinkage, self.dim = check_share(shrinkage), check_dim(dim)

    def __call__(self, vectors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and directions [dim, D]."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        covariance = sum_squares(vectors, mean) / len(vectors)
        return mean, whiten_by(shrink(covariance, self.shrinkage), covariance, self.dim)
