"""Sums of vectors with their neighbors, weighted by similarity."""

from __future__ import annotations

import numpy as np

from ..knn.vectors import check_vectors, unit_vectors
from ..structures import Embeddings
from ._sides import allocate

CELLS = 1 << 23  # numbers gathered at once


def expand_queries(
    side: Embeddings, pool: Embeddings, rows: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Every vector plus the weighted sum of its neighbors, all of length 1 before; the sums have
    length 1 again.

    A sum of zero stays zero. At most CELLS numbers are gathered at once.

    Args:
        side: [N] vectors.
        pool: where the neighbors are.
        rows: [N, K] rows of the pool.
        weights: [N, K], 0 or more.

    Returns:
        [N, D] float32.
    """
    vectors = allocate(len(side), side.dim)
    step = max(1, CELLS // max(1, rows.shape[1] * side.dim))
    for start in range(0, len(side), step):
        here = slice(start, min(start + step, len(side)))
        near = np.asarray(pool.vectors[rows[here].reshape(-1)], np.float32)
        near = unit_vectors(near)[0].reshape(*rows[here].shape, side.dim)
        total = check_vectors(side, here, "cosine") + np.einsum(
            "nkd,nk->nd", near, weights[here].astype(np.float32)
        )
        vectors[here] = unit_vectors(total)[0]
    return vectors


def weigh_cosines(scores: np.ndarray, alpha: float) -> np.ndarray:
    """Weights cosine ** alpha, 0 for a negative cosine; all 1 for alpha 0."""
    return np.maximum(scores, 0) ** np.float32(alpha)
