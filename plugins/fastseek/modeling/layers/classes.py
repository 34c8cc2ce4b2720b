"""How many classes a model has, and how many training images each of them."""

from __future__ import annotations

import torch

from ...errors import ArtefactError
from ...io.json_files import read_json
from ...io.paths import PathLike, locate

UNKNOWN = (
    "this model has no classes and can only embed: to train it, set MODEL.HEADS.NUM_CLASSES or "
    "SEEK.CLASSES (the trainer does)"
)


def class_counts(classes: PathLike, number: int) -> torch.Tensor | None:
    """Training images of every class.

    Args:
        classes: the classes file (SEEK.CLASSES), or "": then `number` zeros are returned, for the
            number of classes is known and their sizes are not.
        number: MODEL.HEADS.NUM_CLASSES; 0 takes the file's. With neither the answer is None: a
            model for evaluation only.

    Returns:
        int64 [C] or None.

    Raises:
        DataError: the file is missing or is not JSON.
        ArtefactError: it has no counts, or not as many as MODEL.HEADS.NUM_CLASSES says.
    """
    if not classes:
        return torch.zeros(number, dtype=torch.int64) if number else None
    file = locate(classes, "the classes of the model")
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
