"""Accuracy of the mean class."""

from __future__ import annotations

import numpy as np

from ..registry import CLASS_METRICS
from ..structures import Score
from .class_labels import known_classes, places
from .scoring import protocol


@CLASS_METRICS.register()
class ClassMean:
    """Mean over the classes of the share of their images that are classified right: rare classes
    count like others.

    `per_query` holds every image with the weight of its class, so that its mean is the figure.

    Example: class_mean()
    """

    def __call__(
        self, probabilities: np.ndarray, truth: np.ndarray, counts: np.ndarray
    ) -> list[Score]:
        """One score, "class_mean"; its protocol names how many classes have images."""
        inside = known_classes(probabilities, truth, "class_mean")
        right = (places(probabilities, truth) < 1).astype(float)
        images = np.bincount(truth[inside], minlength=probabilities.shape[1])
        seen = int((images > 0).sum())
        # So that the plain mean over images, which intervals are drawn from, is the mean over classes.
        weight = inside.sum() / (seen * np.maximum(images[truth], 1))
        each = np.where(inside, right * weight, np.nan)
        return [
            Score("class_mean", float(np.nanmean(each)), each, protocol(truth) | {"classes": seen})
        ]
