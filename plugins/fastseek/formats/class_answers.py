"""Answers of a classifier as contests want them: which image is meant, and the best classes."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..io import csv_rows
from ..io.paths import PathLike


def match_images(ids: Sequence[str], names: Sequence[str], what: str) -> list[int]:
    """The row in `ids` of every image a contest asks for.

    File names are compared without folders and suffix: a contest's list may say 17.png where
    17.jpeg was classified.

    Args:
        ids: of the images that were classified.
        names: of those that are asked for.
        what: told in errors, such as the list.

    Raises:
        DataError: an image was not classified, or two could be meant; names it.
    """
    rows: dict[str, int] = {}
    for row, image in enumerate(ids):
        stem = bare_name(image)
        if stem in rows:
            raise DataError(
                f"{what}: {ids[rows[stem]]!r} and {image!r} could both be {stem!r}: classify the"
                " images of the contest alone"
            )
        rows[stem] = row
    missing = [name for name in names if bare_name(name) not in rows]
    if missing:
        raise DataError(
            f"{what}: {len(missing)} of {len(names)} images were not classified, the first is"
            f" {missing[0]!r}"
        )
    return [rows[bare_name(name)] for name in names]


def read_images(path: PathLike, column: str) -> list[str]:
    """Read the images that must be answered from a column of a contest's own list.

    Raises:
        DataError: an image stands twice, or the file is another; names file and line.
    """
    seen: dict[str, int] = {}
    for line, (image,) in csv_rows.read(path, (column,)):
        csv_rows.check_unique(seen, image, path, line, column)
    return list(seen)


def bare_name(image: str) -> str:
    """The name of an image without folders and suffix."""
    return pathlib.PurePosixPath(image).stem


def best_classes(probabilities: np.ndarray, k: int) -> np.ndarray:
    """int64 [N, k]: the k most probable columns of [N, C], equal ones by number."""
    return np.argsort(-np.asarray(probabilities, np.float32), axis=1, kind="stable")[:, :k]


def class_number(label: str) -> int:
    """The number of a class that is called by it, perhaps with more behind: "00078_Animalia_…".

    Raises:
        DataError: the label begins with no number.
    """
    head = label.split("_")[0]
    if not head.isascii() or not head.isdigit():
        raise DataError(
            f"class {label!r} begins with no number, but the contest numbers its classes: train"
            " with its own folders or lists"
        )
    return int(head)


def write_answers(
    path: PathLike, columns: Sequence[str], images: Sequence[str], answers: Sequence[str]
) -> None:
    """Write a header and a row an image, whole or not at all.

    Raises:
        DataError: an image stands twice.
    """
    seen: dict[str, int] = {}
    for line, image in enumerate(images, 2):
        csv_rows.check_unique(seen, image, path, line, "image")
    csv_rows.write(path, columns, zip(images, answers, strict=True))
