"""Means and scatters of classes, block by block in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse

from ..errors import DataError

ROWS = 8192  # vectors worked on at once


class ClassMoments(NamedTuple):
    """What closed forms need of labeled vectors.

    `means` [C, D] of every class, `counts` [C] its images, `mean` [D] of all images.
    """

    means: np.ndarray
    counts: np.ndarray
    mean: np.ndarray


def compute_moments(vectors: np.ndarray, classes: np.ndarray) -> ClassMoments:
    """Means and counts of the classes.

    Args:
        vectors: [N, D].
        classes: int64 [N], numbers from 0, each at least once.
    """
    counts = np.bincount(classes)
    place = (classes, np.arange(len(classes)))
    member = scipy.sparse.csr_array((np.ones(len(classes)), place), (len(counts), len(classes)))
    sums = member @ vectors
    return ClassMoments(sums / counts[:, None], counts, sums.sum(axis=0) / len(classes))


def sum_squares(
    vectors: np.ndarray,
    centers: np.ndarray,
    classes: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The scatter [D, D] float64: the sum of (x - c)(x - c)' over the vectors x.

    Args:
        vectors: [N, D].
        centers: [C, D], one a class; [D] where all vectors have the same.
        classes: int64 [N]; needed with more than one center.
        weights: [C] what an image of a class weighs; 1 when None.
    """
    total = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), ROWS):
        here = slice(start, start + ROWS)
        middle = centers if classes is None else centers[classes[here]]
        block = vectors[here] - middle
        if classes is not None and weights is not None:
            block *= np.sqrt(weights[classes[here]])[:, None]
        total += block.T @ block
    return total


def shrink(scatter: np.ndarray, share: float) -> np.ndarray:
    """A scatter mixed with a sphere of the same trace, of which it gets this share (Ledoit and Wolf
    2004).
    """
    mixed = (1 - share) * scatter
    mixed.flat[:: len(scatter) + 1] += share * np.trace(scatter) / len(scatter)
    return mixed


def factor(scatter: np.ndarray) -> np.ndarray:
    """The lower Cholesky factor of a scatter.

    Raises:
        DataError: it has no inverse.
    """
    if not scatter.any():
        raise DataError(
            "no class has two images that differ, so nothing tells how far apart images of a class"
            " lie: label more images of the same classes"
        )
    try:
        lower: np.ndarray = scipy.linalg.cholesky(scatter, lower=True)
    except scipy.linalg.LinAlgError as error:
        raise DataError(
            f"the vectors do not vary in all of their {len(scatter)} dimensions: give shrinkage"
            " above 0, or more images"
        ) from error
    return lower


def check_share(shrinkage: float) -> float:
    """The shrinkage of a recipe.

    Raises:
        ValueError: it is no share.
    """
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be 0 to 1, got {shrinkage}")
    return shrinkage
