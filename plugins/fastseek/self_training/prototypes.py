"""Class prototypes, and how near to one an image must be to be taken for a member of the class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..knn.centroids import check_same_length, mean_directions
from ..knn.vectors import unit_rows


def prototypes(vectors: np.ndarray, numbers: np.ndarray, classes: int) -> np.ndarray:
    """The mean directions float32 [classes, D] of labelled images; zero for a class without images.

    Args:
        vectors: [N, D], brought to length 1 here.
        numbers: int64 [N] class of every image, -1 for none.
        classes: how many there are.
    """
    check_same_length(vectors=vectors, numbers=numbers)
    return mean_directions(unit_rows(vectors), np.asarray(numbers, np.int64), classes)


def similarity(vectors: np.ndarray, table: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """float32 [N]: the cosine of every image to the prototype of its class.

    Args:
        vectors: [N, D], brought to length 1 here.
        table: [C, D] from `prototypes`.
        numbers: int64 [N] classes, each in 0..C-1.
    """
    check_same_length(vectors=vectors, numbers=numbers)
    return np.einsum("nd,nd->n", unit_rows(vectors), table[np.asarray(numbers, np.int64)])


def floor(vectors: np.ndarray, numbers: np.ndarray, percentile: float = 5) -> float:
    """The percentile of the leave-one-out scores of labelled images.

    The score of an image is its cosine to the mean direction of the *other* images of its class;
    against a mean it is part of, it would look nearer than a new image can be. Classes of one image
    have no such score.

    Args:
        vectors: [N, D], brought to length 1 here.
        numbers: int64 [N] classes.
        percentile: 0..100.

    Raises:
        DataError: no class has two images.
    """
    check_same_length(vectors=vectors, numbers=numbers)
    points, numbers = unit_rows(vectors).astype(np.float64), np.asarray(numbers, np.int64)
    sums = np.zeros((int(numbers.max(initial=-1)) + 1, points.shape[1]))
    np.add.at(sums, numbers, points)
    rest = sums[numbers] - points
    lengths = np.linalg.norm(rest, axis=1)
    usable = (np.bincount(numbers, minlength=len(sums))[numbers] > 1) & (lengths > 1e-9)
    if not usable.any():
        raise DataError(
            "no class has two labelled images, so no prototype can be tested: switch the prototype"
            " test off (percentile 0)"
        )
    scores = np.einsum("nd,nd->n", points[usable], rest[usable]) / lengths[usable]
    return float(np.percentile(scores, percentile))


def nearest_class(vectors: np.ndarray, table: np.ndarray) -> np.ndarray:
    """float32 [N, C]: cosines to all prototypes; a class without one stands last, at -2.

    Args:
        vectors: [N, D], brought to length 1 here.
        table: [C, D] from `prototypes`.
    """
    found = unit_rows(vectors) @ table.T
    return np.where(np.linalg.norm(table, axis=1) > 0, found, -2).astype(np.float32)


def taxonomy(numbers: np.ndarray, groups: Sequence[str], classes: int) -> list[set[str]]:
    """The groups (phyla) the labelled images of every class are of, [C] sets.

    Args:
        numbers: int64 [N] classes of labelled images.
        groups: [N] their groups, "" where unknown.
        classes: C.
    """
    check_same_length(numbers=numbers, groups=groups)
    made: list[set[str]] = [set() for _ in range(classes)]
    for number, group in zip(numbers, groups, strict=True):
        if group:
            made[int(number)].add(group)
    return made
