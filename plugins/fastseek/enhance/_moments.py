"""Mean and covariance of embeddings, block by block in float64."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..structures import Embeddings
from ._sides import ROWS


def compute_mean(side: Embeddings) -> np.ndarray:
    """The mean vector [D] float64.

    Raises:
        DataError: there is no vector, or one is not finite.
    """
    if not len(side):
        raise DataError("there are no vectors to fit on")
    total = np.zeros(side.dim)
    for _, block in side.blocks(ROWS):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(side)


def compute_covariance(side: Embeddings, center: np.ndarray) -> np.ndarray:
    """The covariance [D, D] float64 about `center`, with N - 1 below.

    Raises:
        DataError: there are fewer than two vectors, or one is not finite.
    """
    if len(side) < 2:
        raise DataError(f"{len(side)} vectors have no covariance: fit on at least two")
    total = np.zeros((side.dim, side.dim))
    for _, block in side.blocks(ROWS):
        centered = block - center
        total += centered.T @ centered
    return total / (len(side) - 1)
