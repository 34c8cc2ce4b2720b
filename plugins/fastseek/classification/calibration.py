"""Expected calibration error."""

from __future__ import annotations

import numpy as np

from ..registry import CLASS_METRICS
from ..structures import Score
from .class_labels import known_classes
from .scoring import protocol


@CLASS_METRICS.register()
class Calibration:
    """How far the confidence of the first class is from how often it is right (ECE; Guo et al.,
    ICML 2017).

    Images are put into bins of equal width by their largest probability; the error is the mean over
    the images of |accuracy - confidence| of their bin. 0 is best.

    Args:
        bins: how many.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (arXiv 1706.04599)
    Example: calibration(bins=15)
    """

    def __init__(self, bins: int = 15) -> None:
        if bins < 1:
            raise ValueError(f"bins must be 1 or more, got {bins}")
        self.bins = bins

    def __call__(
        self, probabilities: np.ndarray, truth: np.ndarray, counts: np.ndarray
    ) -> list[Score]:
        """One score, "ece"; it is no mean over images, so it has no interval."""
        inside = known_classes(probabilities, truth, "calibration")
        confidence = probabilities[inside].max(axis=1).astype(float)
        right = probabilities[inside].argmax(axis=1) == truth[inside]
        # (0, 1/bins], (1/bins, 2/bins] …: a confidence of 1 belongs to the last bin
        held = np.clip(np.ceil(confidence * self.bins).astype(int) - 1, 0, self.bins - 1)
        gap = np.bincount(held, right - confidence, minlength=self.bins)
        return [
            Score(
                "ece",
                float(np.abs(gap).sum() / len(held)),
                None,
                protocol(truth) | {"bins": self.bins},
            )
        ]
