"""A noisy training set cleaned by geometric verification: what looks like nothing else of its class
goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..progress import progress


class Cleaned(NamedTuple):
    """What is kept: `keep` [N] truth values; `matches` [N] verified images of the same class,
    counted up to the least that is asked for; `verified` how many pairs were looked at.
    """

    keep: np.ndarray
    matches: np.ndarray
    verified: int


def clean_by_matches(
    labels: np.ndarray,
    neighbors: np.ndarray,
    inliers: Callable[[int, int], int],
    least_inliers: int = 30,
    least_matches: int = 3,
    least_images: int = 2,
) -> Cleaned:
    """Keep the images that verify with others of their class, and the classes that keep enough of
    them.

    Of an image's neighbors (its 100 nearest training images) those of its own class are verified,
    nearest first; one that shares `least_inliers` local features or more under one transformation
    is a match. An image with `least_matches` is kept, and a class with `least_images` kept images.
    So GLDv2 was cleaned to 1.6 million images of 81,313 classes (Ozaki and Yokoo, arXiv 1906.04087:
    30, 3 and 2 of 100 neighbors).

    Args:
        labels: [N], whole numbers; a negative one is of no class, and the image is not kept.
        neighbors: [N, K] rows of the nearest images, best first; -1 for none; the image itself
            does not count.
        inliers: verifies two rows: how many features agree. A pair is asked for once, the smaller
            row first.

    Raises:
        DataError: labels and neighbors differ in length, or a neighbor is no row.
    """
    labels, neighbors = np.asarray(labels), np.asarray(neighbors)
    legal = not neighbors.size or -1 <= neighbors.min() <= neighbors.max() < len(labels)
    if len(labels) != len(neighbors) or not legal:
        raise DataError(
            f"{len(labels)} labels and neighbors {neighbors.shape} of rows up to "
            f"{neighbors.max(initial=-1)}: must be the nearest rows of the same images"
        )
    known: dict[tuple[int, int], bool] = {}

    def agrees(row: int, other: int) -> bool:
        pair = min(row, other), max(row, other)
        if pair not in known:
            known[pair] = inliers(*pair) >= least_inliers
        return known[pair]

    matches = np.zeros(len(labels), np.int64)
    for row in progress(range(len(labels)), "verifying"):
        near = neighbors[row][neighbors[row] >= 0]
        for other in (
            near[(labels[near] == labels[row]) & (near != row)].tolist() if labels[row] >= 0 else ()
        ):
            matches[row] += agrees(row, other)
            if matches[row] >= least_matches:
                break
    keep = (matches >= least_matches) & (labels >= 0)
    classes, place = np.unique(labels, return_inverse=True)
    keep &= (np.bincount(place[keep], minlength=len(classes)) >= least_images)[place]
    return Cleaned(keep, matches, len(known))
