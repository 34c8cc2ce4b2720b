"""Sorghum-100 (FGVC9, Kaggle's sorghum-id-fgvc-9): the list of the training, and submissions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..io import csv_rows
from ..io.csv_rows import check_unique
from ..io.paths import PathLike
from . import class_answers
from .class_answers import write_answers

ANSWERS = 1  # classes of an image
COLUMNS = ("filename", "cultivar")


@dataclasses.dataclass(frozen=True)
class Cultivars:
    """Images of the training with their cultivar, and rows that have none: the contest's own list
    holds one for a file that is no image.
    """

    labels: dict[str, str]
    left_out: Sequence[str]


def read_train(path: PathLike) -> Cultivars:
    """Read train_cultivar_mapping.csv: image,cultivar.

    Raises:
        DataError: an image stands twice, or the file is another; names file and line.
    """
    labels: dict[str, str] = {}
    left_out: list[str] = []
    seen: dict[str, int] = {}
    for line, (image, cultivar) in csv_rows.read(path, ("image", "cultivar")):
        check_unique(seen, image, path, line, "image")
        if cultivar.strip():
            labels[image] = cultivar.strip()
        else:
            left_out.append(image)
    return Cultivars(labels, left_out)


def read_images(path: PathLike) -> list[str]:
    """Read the images that must be answered, the column filename of sample_submission.csv.

    Raises:
        DataError: an image stands twice, or the file is another; names file and line.
    """
    return class_answers.read_images(path, "filename")


def write_submission(
    path: PathLike, images: Sequence[str], labels: Sequence[Sequence[str]]
) -> None:
    """Write filename,cultivar, whole or not at all.

    Args:
        path: the file.
        images: as the contest names them.
        labels: the best classes of each; the first is handed in.
    """
    write_answers(path, COLUMNS, images, [best[0] for best in labels])
