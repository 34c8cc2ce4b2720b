"""Temperature scaling: confidences that mean what they say."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..knn.centroids import check_same_length

LEAST = 1e-30


def temperature(
    probabilities: np.ndarray, truth: np.ndarray, low: float = 0.05, high: float = 20.0
) -> float:
    """The temperature that makes the true classes of a validation part most likely (Guo et al.,
    ICML 2017).

    Args:
        probabilities: [N, C] of images the model was not trained on.
        truth: int64 [N], -1 for an image of none of the classes, which is left out.
        low, high: between which it is looked for.

    Raises:
        DataError: no image is of a known class.
    """
    from scipy.optimize import minimize_scalar

    check_same_length(probabilities=probabilities, truth=truth)
    inside = np.asarray(truth) >= 0
    if not inside.any():
        raise DataError(
            "no validation image is of a class the model knows, so there is nothing to calibrate"
            " with"
        )
    logs, own = _logs(np.asarray(probabilities)[inside]), np.asarray(truth, np.int64)[inside]

    def cost(log_t: float) -> float:
        scaled = logs / np.exp(log_t)
        top = scaled.max(axis=1)
        whole = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((whole - scaled[np.arange(len(own)), own]).mean())

    return float(
        np.exp(minimize_scalar(cost, bounds=(np.log(low), np.log(high)), method="bounded").x)
    )


def scale_probabilities(probabilities: np.ndarray, by: float) -> np.ndarray:
    """softmax(log p / temperature), float32 [N, C]; 1 changes nothing, more makes all less sure."""
    logs = _logs(probabilities) / by
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _logs(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST))
