"""Top-k accuracy."""

from __future__ import annotations

import numpy as np

from ..registry import CLASS_METRICS
from ..structures import Score
from .class_labels import known_classes, places
from .scoring import protocol


@CLASS_METRICS.register()
class Top:
    """Share of the images whose class is among the k most probable, for every k; equal ones stand
    by class number.

    Args:
        ks: such as top(1, 5).

    Example: top(1, 5)
    """

    def __init__(self, *ks: int) -> None:
        if not ks or min(ks) < 1:
            raise ValueError(f"k must be whole numbers of 1 or more, got {ks}")
        self.ks = ks

    def __call__(
        self, probabilities: np.ndarray, truth: np.ndarray, counts: np.ndarray
    ) -> list[Score]:
        """One score a k, "top(5)"."""
        inside, place = known_classes(probabilities, truth, "top"), places(probabilities, truth)
        scores = []
        for k in self.ks:
            right = np.where(inside, place < k, np.nan).astype(float)
            scores.append(Score(f"top({k})", float(np.nanmean(right)), right, protocol(truth)))
        return scores
