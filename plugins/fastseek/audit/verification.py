"""Two images of one thing share local features under one transformation: how many, by SIFT and
RANSAC.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UsageError

Features = tuple[
    np.ndarray, np.ndarray
]  # places [n, 2] float32 in pixels, descriptors [n, 128] float32


class Verification:
    """Inliers of an affine transformation between two images, each numbered.

    SIFT features (Lowe, IJCV 2004) are matched where the nearest is nearer than `ratio` times the
    second, and an affine transformation is fitted by RANSAC (Fischler and Bolles 1981). The same
    pair gives the same number.

    Args:
        read: the gray image of a number, uint8 [H, W]; None when it cannot be read, which agrees
            with nothing.
        features: how many of a image, the strongest.
        ratio: of nearest to second nearest descriptor.
        pixels: how far from its place a feature may land.
        kept: images whose features stay in memory.

    Raises:
        UsageError: OpenCV is not installed.
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray | None],
        features: int = 1000,
        ratio: float = 0.8,
        pixels: float = 5.0,
        kept: int = 2000,
    ) -> None:
        self.cv2, self.read, self.ratio, self.pixels = opencv(), read, ratio, pixels
        self._sift = self.cv2.SIFT_create(features)
        self._matcher = self.cv2.BFMatcher()
        self.features = functools.lru_cache(kept)(self._features)

    def __call__(self, first: int, second: int) -> int:
        """How many features of two images agree."""
        (places, ours), (others, theirs) = self.features(first), self.features(second)
        if min(len(ours), len(theirs)) < 3:
            return 0
        pairs = [two for two in self._matcher.knnMatch(ours, theirs, k=2) if len(two) == 2]
        good = [one for one, two in pairs if one.distance < self.ratio * two.distance]
        if len(good) < 3:
            return 0
        self.cv2.setRNGSeed(0)
        _, inside = self.cv2.estimateAffine2D(
            places[[one.queryIdx for one in good]],
            others[[one.trainIdx for one in good]],
            method=self.cv2.RANSAC,
            ransacReprojThreshold=self.pixels,
        )
        return 0 if inside is None else int(inside.sum())

    def _features(self, number: int) -> Features:
        gray = self.read(number)
        points, descriptors = (
            self._sift.detectAndCompute(gray, None) if gray is not None else ((), None)
        )
        if descriptors is None:
            return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32)
        return np.asarray([point.pt for point in points], np.float32), descriptors


def opencv() -> Any:
    """The cv2 module.

    Raises:
        UsageError: it is not installed; says what to install.
    """
    try:
        import cv2
    except ImportError as error:
        raise UsageError(
            "verifying images needs OpenCV: pip install opencv-python-headless, or give the inliers"
            " of your own verification"
        ) from error
    return cv2
