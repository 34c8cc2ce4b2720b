"""Centroids: the nearest one of every vector, and the mean direction of every group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArtefactError
from ..structures.arrays import FloatArray

ROWS = 8192


def nearest_centroids(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number [N] int64 and the cosine [N] float32 of the nearest centroid, the first of equal
    ones.

    Args:
        vectors: [N, D] of length 1.
        centroids: [K, D] of length 1, at least one.
    """
    numbers, cosines = np.empty(len(vectors), np.int64), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), ROWS):
        found = vectors[start : start + ROWS] @ centroids.T
        numbers[start : start + ROWS] = found.argmax(axis=1)
        cosines[start : start + ROWS] = found.max(axis=1)
    return numbers, cosines


def mean_directions(vectors: np.ndarray, numbers: np.ndarray, count: int) -> FloatArray:
    """The directions float32 [count, D] of the means of `vectors` by number; zero where a number
    has no vector.

    Args:
        vectors: [N, D] of length 1.
        numbers: int64 [N] in 0..count-1; -1 stands for none.
        count: how many there are.
    """
    # In float64: a sum of many float32 vectors loses the digits in which directions differ.
    sums = np.zeros((count, vectors.shape[1]))
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(count + 1))
    for number in np.flatnonzero(np.diff(bounds)):
        mine = order[bounds[number] : bounds[number + 1]]
        sums[number] = vectors[mine].sum(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # Vectors that cancel out have no direction.
    directions = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 1e-12)
    made: FloatArray = directions.astype(np.float32)
    return made


def check_same_length(**columns: Sequence[object] | np.ndarray | None) -> None:
    """Columns of one table, None for those that are not given.

    Raises:
        ArtefactError: they are of different lengths; names them.
    """
    sizes = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(sizes.values())) > 1:
        raise ArtefactError(
            "rows do not fit: " + ", ".join(f"{size} {name}" for name, size in sizes.items())
        )
