"""Whitening learned from matching pairs."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..registry import ADAPTERS
from ._class_moments import check_share, compute_moments, shrink, sum_squares
from ._whitening import check_dim, whiten_by


@ADAPTERS.register()
class PairWhiten:
    """The differences of images of one class get the same variance in every direction.

    Learned whitening as Radenović et al. use it for image retrieval (PAMI 2019), over all matching
    pairs: their scatter is that within the classes, a class of n images counted n times, so no pair
    is listed.

    Args:
        shrinkage: share of a sphere in the covariance of the differences.
        dim: how many directions are kept, those in which all images vary most; all when None.

    Raises:
        DataError: no class has two images, or without shrinkage their differences do not vary in
            every dimension.

    Source: Mikolajczyk and Matas, Improving Descriptors for Fast Tree Matching by Optimal Linear
        Projection, ICCV 2007
    Example: pair_whiten(shrinkage=0.3)
    """

    def __init__(self, shrinkage: float = 0.3, dim: int | None = None) -> None:
        self.shrinkage, self.dim = check_share(shrinkage), check_dim(dim)

    def __call__(self, vectors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and directions [dim, D]."""
        moments = compute_moments(vectors, classes)
        counts = moments.counts.astype(np.float64)
        if counts.max() < 2:
            raise DataError("no class has two images, so there are no matching pairs to learn from")
        pairs = sum_squares(vectors, moments.means, classes, counts) / (counts**2).sum()
        spread = None if self.dim is None else sum_squares(vectors, moments.mean)
        return moments.mean, whiten_by(shrink(pairs, self.shrinkage), spread, self.dim)
