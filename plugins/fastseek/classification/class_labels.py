"""The true classes as the model numbers them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArtefactError, DataError


def class_numbers(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The number of every label among a model's classes.

    Args:
        labels: [N] true labels.
        classes: [C] the model's labels, in the order of its outputs.

    Returns:
        int64 [N], -1 for a label the model does not know.
    """
    numbers = {label: number for number, label in enumerate(classes)}
    return np.array([numbers.get(label, -1) for label in labels], np.int64)


def known_classes(probabilities: np.ndarray, truth: np.ndarray, name: str) -> np.ndarray:
    """bool [N]: the images of a class the model has.

    Raises:
        ArtefactError: shapes do not fit, or a true class is beyond C.
        DataError: no image is of a known class.
    """
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1]:
        raise ArtefactError(
            f"{name}: {truth.shape} true classes for probabilities {probabilities.shape}"
        )
    if len(truth) and truth.max() >= probabilities.shape[1]:
        raise ArtefactError(
            f"{name}: a true class is {truth.max()}, the model has {probabilities.shape[1]}"
        )
    inside = truth >= 0
    if not inside.any():
        raise DataError(
            f"{name} is not defined: none of the {len(truth)} images is of a class the model knows"
        )
    return inside


def places(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """int64 [N]: how many classes stand before the true one; equal probabilities stand by class
    number.

    For a truth of -1 it is C: never among the first.
    """
    rows = np.arange(len(truth))
    # A truth of -1 reads the last class here; its rows are replaced below.
    own = probabilities[rows, truth][:, None]
    number = np.arange(probabilities.shape[1])[None]
    before = (probabilities > own) | ((probabilities == own) & (number < truth[:, None]))
    return np.where(truth < 0, probabilities.shape[1], before.sum(axis=1))
