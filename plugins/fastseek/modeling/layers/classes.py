"""How many classes a model has, and how many training images each of them."""

from __future__ import annotations

from typing import Any

import torch

from ...errors import ArtefactError, UsageError
from ...io.json_files import read_json
from ...io.paths import locate


def class_counts(cfg: Any) -> torch.Tensor | None:
    """Training images of every class.

    Read from SEEK.CLASSES; without that file, MODEL.HEADS.NUM_CLASSES zeros (the number of classes
    is known, their sizes are not); without either, None: a model for evaluation only.

    Args:
        cfg: a fast-reid CfgNode with our keys.

    Returns:
        int64 [C] or None.

    Raises:
        DataError: the file is missing or is not JSON.
        ArtefactError: it has no counts, or not as many as MODEL.HEADS.NUM_CLASSES says.
    """
    number = cfg.MODEL.HEADS.NUM_CLASSES
    if not cfg.SEEK.CLASSES:
        return torch.zeros(number, dtype=torch.int64) if number else None
    file = locate(cfg.SEEK.CLASSES, "the classes of the model")
    found = read_json(file)
    counts = found.get("counts") if isinstance(found, dict) else None
    if not isinstance(counts, list) or not all(
        isinstance(count, int) and count >= 0 for count in counts
    ):
        raise ArtefactError(
            f'{file}: expected {{"labels": [...], "counts": [...]}} with a whole number a class'
        )
    if number and number != len(counts):
        raise ArtefactError(
            f"{file} (SEEK.CLASSES) has {len(counts)} classes, and MODEL.HEADS.NUM_CLASSES is"
            f" {number}: the recipe or the weights are of another run. Set MODEL.HEADS.NUM_CLASSES"
            f" to 0, which takes the file's {len(counts)}, or SEEK.CLASSES to the classes.json"
            f" beside the weights with {number} classes"
        )
    return torch.tensor(counts, dtype=torch.int64)


def require_counts(cfg: Any) -> torch.Tensor:
    """The same, for a model that is trained.

    Raises:
        UsageError: the number of classes is unknown.
    """
    counts = class_counts(cfg)
    if counts is None or not len(counts):
        raise UsageError(UNKNOWN)
    return counts


UNKNOWN = (
    "this model has no classes and can only embed: to train it, set MODEL.HEADS.NUM_CLASSES or "
    "SEEK.CLASSES (the trainer does)"
)
