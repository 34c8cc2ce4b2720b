"""Accuracy by how many training images a class has."""

from __future__ import annotations

import numpy as np

from ..registry import CLASS_METRICS
from ..structures import Score
from .class_labels import known_classes, places
from .scoring import protocol


@CLASS_METRICS.register()
class BySize:
    """Top-1 accuracy among the classes of each size: the long-tail report.

    Args:
        edges: by_size(20, 100) has the buckets of up to 20, 21 to 100, and more than 100 training
            images.

    Example: by_size(20, 100)
    """

    def __init__(self, *edges: int) -> None:
        if not edges or sorted(set(edges)) != list(edges) or edges[0] < 0:
            raise ValueError(f"edges must be rising whole numbers, got {edges}")
        self.edges = edges

    def __call__(
        self, probabilities: np.ndarray, truth: np.ndarray, counts: np.ndarray
    ) -> list[Score]:
        """One score for every bucket that has images, "top1[21-100]"."""
        inside = known_classes(probabilities, truth, "by_size")
        right = places(probabilities, truth) < 1
        # A truth of -1 would read the size of the last class.
        size = np.where(inside, np.asarray(counts)[truth], -1)
        bounds = [-1, *self.edges, np.iinfo(np.int64).max]
        scores = []
        for low, high in zip(bounds[:-1], bounds[1:], strict=True):
            here = inside & (size > low) & (size <= high)
            if here.any():
                values = np.where(here, right, np.nan).astype(float)
                scores.append(
                    Score(
                        f"top1[{_bucket(low, high)}]",
                        float(np.nanmean(values)),
                        values,
                        protocol(truth) | {"of this size": int(here.sum())},
                    )
                )
        return scores


def _bucket(low: int, high: int) -> str:
    return f">{low}" if high == np.iinfo(np.int64).max else f"{low + 1}-{high}"
