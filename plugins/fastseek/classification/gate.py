"""A gate before the classifier: images of no known class are turned away by a score, not by a class
"other".
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import DataError


@dataclasses.dataclass(frozen=True)
class Gate:
    """Lets an image in when its score is at least `threshold`.

    Args:
        threshold: the least score.
        keep: the share of known images it was fitted to let in.
    """

    threshold: float
    keep: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """bool [N]: who is let in; a score that is not a number is turned away."""
        return np.asarray(scores, float) >= self.threshold


def fit_gate(scores: np.ndarray, keep: float = 0.95) -> Gate:
    """The strictest gate that lets in at least the share `keep` of images that are known to belong.

    Args:
        scores: [N] of images of known classes that the model was not trained on: the largest
            probability, the cosine to the nearest class prototype, a detector's confidence. Larger
            is surer.
        keep: in (0, 1].

    Raises:
        DataError: no finite score, or keep outside (0, 1].
    """
    scores = np.sort(np.asarray(scores, float))
    if not len(scores) or not np.isfinite(scores).all() or not 0 < keep <= 1:
        raise DataError(
            f"a gate needs finite scores and a share in (0, 1], got {len(scores)} scores and {keep}"
        )
    return Gate(float(scores[len(scores) - int(np.ceil(keep * len(scores)))]), keep)


def separation(inside: np.ndarray, outside: np.ndarray) -> float:
    """Area under the ROC curve: how often an image that belongs scores above one that does not, ties
    counted half.

    Raises:
        DataError: one of the two is empty.
    """
    if not len(inside) or not len(outside):
        raise DataError("separation needs scores of images that belong and of images that do not")
    below = np.sort(outside)
    beaten = np.searchsorted(below, inside, "left") + np.searchsorted(below, inside, "right")
    return float(beaten.mean() / (2 * len(outside)))
