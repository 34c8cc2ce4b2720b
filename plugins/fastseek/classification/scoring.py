"""Class probabilities to all the class metrics a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError, UsageError
from ..registry import CLASS_METRICS, build
from ..structures import Score
from .class_labels import known_classes


def evaluate(
    probabilities: np.ndarray, truth: np.ndarray, counts: np.ndarray, calls: Sequence[str]
) -> list[Score]:
    """Score a classifier.

    Args:
        probabilities: [N, C], finite; rows need not sum to 1 for metrics of order alone.
        truth: int64 [N] true classes, -1 for none of the C: such images are left out, and the
            protocol counts them.
        counts: int64 [C] training images of every class.
        calls: call strings of CLASS_METRICS such as "top(1, 5)".

    Raises:
        UsageError: a call names no class metric, or none is given.
        DataError: a probability is not finite, or no image is of a known class.
        ArtefactError: shapes do not fit.
    """
    if not calls:
        raise UsageError(f"no class metric is asked for; known: {', '.join(CLASS_METRICS.names())}")
    probabilities, truth = np.asarray(probabilities, np.float32), np.asarray(truth, np.int64)
    known_classes(probabilities, truth, calls[0])
    if not np.isfinite(probabilities).all():
        row = int((~np.isfinite(probabilities)).any(axis=1).argmax())
        raise DataError(f"the probabilities of image {row} are not finite: classify it again")
    return [
        score
        for call in calls
        for score in build(call, CLASS_METRICS)(probabilities, truth, np.asarray(counts))
    ]


def protocol(truth: np.ndarray) -> dict[str, int]:
    """What was counted and what was left out."""
    return {
        "images": len(truth),
        "counted": int((truth >= 0).sum()),
        "of no known class": int((truth < 0).sum()),
    }
