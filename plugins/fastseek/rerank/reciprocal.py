"""The sparse vectors of k-reciprocal encoding: for every image, weights on the images of its neighbourhood.

Section 3 of "Re-ranking Person Re-identification with k-reciprocal Encoding" (Zhong et al., CVPR 2017), with sets as
rows of sparse matrices: nothing here has N x N entries.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, vstack

ROWS = 4096  # images whose sets are expanded at once


def own_first(neighbours: np.ndarray) -> np.ndarray:
    """Neighbour lists [N, K] that begin with the image itself, which many equal images may have pushed off."""
    own = np.arange(len(neighbours))
    here = neighbours == own[:, None]
    rest = np.ones(neighbours.shape, bool)
    rest[own, np.where(here.any(axis=1), here.argmax(axis=1), neighbours.shape[1] - 1)] = False
    return np.concatenate([own[:, None], neighbours[rest].reshape(len(own), -1)], axis=1)


def reciprocal(neighbours: np.ndarray) -> csr_array:
    """R [N, N] of zeros and ones: j is in row i when each is in the other's list; symmetric."""
    lists = _lists(neighbours, 1)
    return lists.multiply(lists.T.tocsr()).tocsr()


def supports(neighbours: np.ndarray, k1: int) -> csr_array:
    """R*(i, k1) as rows of zeros and ones: R(i, k1) with every R(j, k1/2) that lies in it by more than two thirds."""
    whole = reciprocal(neighbours[:, :k1 + 1])
    half = reciprocal(neighbours[:, :int(np.around(k1 / 2)) + 1])
    sizes = np.diff(half.indptr)
    return vstack([expand(whole[start:start + ROWS], half, sizes) for start in range(0, len(neighbours), ROWS)],
                  format="csr")


def expand(whole: csr_array, half: csr_array, sizes: np.ndarray) -> csr_array:
    """Rows R(i, k1) of some images with every R(j, k1/2), sizes[j] large, that lies in them by more than two thirds."""
    inside = (whole @ half).multiply(whole).tocsr()  # half is symmetric: |R(i, k1) and R(j, k1/2)| for j in R(i, k1)
    inside.data = (inside.data > 2 / 3 * sizes[inside.indices]).astype(np.int32)
    inside.eliminate_zeros()
    joined = (whole + inside @ half).tocsr()
    joined.data[:] = 1
    return joined


def encode(neighbours: np.ndarray, k1: int, k2: int,
           distances: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> csr_array:
    """V [N, N] float32, rows that sum to 1.

    Args:
        neighbours: [N, K] the nearest images of every image, itself first.
        k1: size of the neighbourhoods.
        k2: how many neighbours' rows are averaged; 1 for none.
        distances: called with rows and columns [n], gives the scaled distances of those pairs.
    """
    found = supports(neighbours, k1)
    sizes = np.diff(found.indptr)
    rows = np.repeat(np.arange(len(neighbours)), sizes)
    weights = np.exp(-distances(rows, found.indices))
    weights /= np.bincount(rows, weights, minlength=len(neighbours))[rows]
    encoded = csr_array((weights.astype(np.float32), found.indices, found.indptr), shape=found.shape)
    return averaged(encoded, neighbours, k2)


def averaged(encoded: csr_array, neighbours: np.ndarray, k2: int) -> csr_array:
    """The mean of the rows of every image's k2 nearest, itself among them."""
    if k2 == 1:
        return encoded
    near = neighbours[:, :k2]
    return _lists(near, np.float32(1 / near.shape[1])) @ encoded


def _lists(neighbours: np.ndarray, value: float) -> csr_array:
    count, width = neighbours.shape
    starts = np.arange(count + 1, dtype=np.int64) * width
    data = np.full(count * width, value, np.int32 if isinstance(value, int) else np.float32)
    return csr_array((data, neighbours.reshape(-1), starts), shape=(count, count))
