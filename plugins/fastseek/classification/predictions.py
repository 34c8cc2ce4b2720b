"""Class probabilities to what people read: image, label, confidence."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError
from ..io import csv_rows
from ..io.json_files import write_json
from ..structures import Embeddings
from .gate import NONE, Gate, score_images

COLUMNS = ("image", "label", "confidence")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image.

    Args:
        image: its id.
        label: the most probable class, or "none of these" where a gate turns the image away.
        confidence: the largest probability.
        nearest: the most probable class, even of an image that is turned away.
    """

    image: str
    label: str
    confidence: float
    nearest: str


def predict(found: Embeddings, gate: Gate | None = None) -> Iterator[Prediction]:
    """One prediction an image, in their order; of equal probabilities the first class counts.

    Args:
        found: probabilities with "classes" in their provenance.
        gate: turns images away; all are let in without one.

    Raises:
        ArtefactError: no table of probabilities.
    """
    classes = class_names(found)
    # Block by block: 500,000 images of 10,000 classes are 20 GB.
    for start, block in found.blocks():
        sure, best = score_images(block), block.argmax(axis=1)
        let_in = _let_in(gate, block)
        ids = found.ids[start : start + len(block)].tolist()
        for row, image in enumerate(ids):
            nearest = classes[best[row]]
            label = nearest if let_in[row] else NONE
            yield Prediction(image, label, float(sure[row]), nearest)


def _let_in(gate: Gate | None, block: np.ndarray) -> np.ndarray:
    """bool [N]: which rows of probabilities a gate lets in; all without one."""
    return np.ones(len(block), bool) if gate is None else gate(score_images(block, gate.by))


def class_names(found: Embeddings) -> list[str]:
    """The labels of the columns of a table of probabilities.

    Raises:
        ArtefactError: it is none.
    """
    classes = found.provenance.get("classes")
    if not isinstance(classes, list) or len(classes) != found.dim:
        raise ArtefactError("not a folder of class probabilities: `fastseek classify` writes them")
    return [str(label) for label in classes]


def write_predictions(
    folder: pathlib.Path, predictions: Sequence[Prediction], gate: Gate | None
) -> None:
    """Write predictions.csv (image,label,confidence) and predictions.json (the same, how many
    images each label has, and the gate).
    """
    guard = csv_rows.guard_cell
    rows = ([guard(one.image), guard(one.label), f"{one.confidence:.6f}"] for one in predictions)
    csv_rows.write(folder / "predictions.csv", COLUMNS, rows)
    made: dict[str, Any] = {
        "gate": None if gate is None else dataclasses.asdict(gate),
        "images": len(predictions),
        "labels": count_labels(predictions),
        "rows": [_row(one) for one in predictions],
    }
    write_json(folder / "predictions.json", made)


def count_labels(predictions: Sequence[Prediction]) -> dict[str, int]:
    """How many images each label has, the most frequent first, then by name."""
    counts = collections.Counter(one.label for one in predictions)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _row(one: Prediction) -> dict[str, Any]:
    made: dict[str, Any] = {
        "image": one.image,
        "label": one.label,
        "confidence": round(one.confidence, 6),
    }
    return made if one.label == one.nearest else made | {"nearest": one.nearest}
