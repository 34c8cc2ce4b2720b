"""Least squares with a penalty."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..registry import ADAPTERS
from ._class_moments import compute_moments, sum_squares

TARGETS = ("classes", "means")


@ADAPTERS.register()
class Ridge:
    """The linear layer that comes nearest to a target for every image, by least squares.

    In closed form, with an intercept that is not
    penalized and, as cosines of centered vectors are compared, not kept.

    Args:
        strength: weight of the squared layer, against the sum over all images.
        targets: "classes", one output a class, 1 for its images and 0 for others; or "means", the
            mean vector of the image's class, so that the dimension stays.

    Source: Hoerl and Kennard, Ridge Regression, Technometrics 1970
    Example: ridge(strength=1.0)
    """

    def __init__(self, strength: float = 1.0, targets: str = "classes") -> None:
        if not strength > 0:
            raise ValueError(f"strength must be above 0, got {strength}")
        if targets not in TARGETS:
            raise ValueError(f"targets must be one of {', '.join(TARGETS)}, got {targets!r}")
        self.strength, self.targets = strength, targets

    def __call__(self, vectors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and directions [C, D] or [D, D]."""
        moments = compute_moments(vectors, classes)
        offsets = moments.means - moments.mean
        wanted = offsets * moments.counts[:, None]  # the sum of target times image
        if self.targets == "means":
            wanted = offsets.T @ wanted
        penalized = sum_squares(vectors, moments.mean)
        penalized.flat[:: len(penalized) + 1] += self.strength
        return moments.mean, scipy.linalg.solve(penalized, wanted.T, assume_a="pos").T
