"""classes.json: the classes of a model in the order of its outputs, beside its weights."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from typing import Any, TypeVar

from ..errors import ArtefactError, DataError
from ..io.digests import sha256
from ..io.json_files import read_json
from ..io.paths import PathLike

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ClassFile:
    """The labels of a model's classes, and how many training images each had."""

    labels: list[str]
    counts: list[int]


def read_class_file(path: PathLike) -> ClassFile:
    """Read a classes.json.

    Raises:
        DataError: it is missing or is not JSON.
        ArtefactError: it holds something else, or a label stands twice.
    """
    found = read_json(path)
    page = found if isinstance(found, dict) else {}
    labels, counts = _list_of(page.get("labels"), str), _list_of(page.get("counts"), int)
    if labels is None or counts is None or len(labels) != len(counts):
        raise ArtefactError(
            f'{path}: expected {{"labels": [...], "counts": [...]}} with a label and a whole number'
            " a class, as a training writes them beside its weights"
        )
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ArtefactError(f"{path}: the label {twice!r} stands twice, must be once")
    return ClassFile(labels, counts)


def check_class_file(path: PathLike, weights: PathLike) -> None:
    """Compare a classes.json with the digest that the checkpoint beside it holds.

    A checkpoint that tells none, such as a weight file alone, is taken as it is.

    Raises:
        ArtefactError: it is not the file the weights were trained with.
    """
    expected = _expected_digest(pathlib.Path(weights))
    if expected and pathlib.Path(path).is_file() and sha256(path) != expected:
        raise ArtefactError(
            f"{path}: not the file that {weights} was trained with (its SHA-256 is another), so"
            " its classes may be others: bring the file of that training back"
        )


def _expected_digest(weights: pathlib.Path) -> str:
    """What the manifest of a checkpoint tells of its classes, or that of another checkpoint of the
    same run: the best model's tells none.
    """
    own = _manifest(weights.with_suffix(".json"))
    if "classes" in own or not own.get("run"):
        return str(own.get("classes", ""))
    for file in sorted(weights.parent.glob("model_*.json")):
        other = _manifest(file)
        if other.get("run") == own["run"] and "classes" in other:
            return str(other["classes"])
    return ""


def _manifest(file: pathlib.Path) -> dict[str, Any]:
    with contextlib.suppress(DataError):
        found = read_json(file)
        if isinstance(found, dict):
            return found
    return {}


def _list_of(values: Any, kind: type[T]) -> list[T] | None:
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        return None
    return values
