"""Semi-supervised iNat 2021: annotations and submissions (github.com/cvl-umass/semi-inat-2021)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..errors import DataError
from ..io.json_files import read_json
from ..io.paths import PathLike
from . import class_answers
from .class_answers import class_number, write_answers

ANSWERS = 5  # classes of an image, best first; the first counts
COLUMNS = ("Id", "Category")


@dataclasses.dataclass(frozen=True)
class Taxa:
    """What annotation.json tells, as "kingdom/phylum".

    Args:
        classes: class number, which is the name of its folder -> its taxon.
        unlabelled: image of the unlabelled training -> its taxon.
    """

    classes: dict[str, str]
    unlabelled: dict[str, str]


def read_annotations(path: PathLike) -> Taxa:
    """Read annotation.json.

    Raises:
        DataError: the file is another.
    """
    page = read_json(path)
    try:
        classes = {str(int(one["class_id"])): _taxon(one) for one in page["annotations"]}
        unlabelled = {str(one["image_name"]): _taxon(one) for one in page["unlabeled_taxa"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not the annotations of Semi-iNat 2021 ({error!r}): expected"
            ' "annotations" with class_id, kingdom and phylum, "unlabeled_taxa" with image_name,'
            " kingdom and phylum"
        ) from error
    return Taxa(classes, unlabelled)


def _taxon(one: dict[str, str]) -> str:
    return f"{one['kingdom']}/{one['phylum']}"


def read_images(path: PathLike) -> list[str]:
    """Read the images that must be answered, the column Id of solutions_sample.csv.

    Raises:
        DataError: an image stands twice, or the file is another; names file and line.
    """
    return class_answers.read_images(path, "Id")


def write_submission(
    path: PathLike, images: Sequence[str], labels: Sequence[Sequence[str]]
) -> None:
    """Write Id,Category with five class numbers an image, whole or not at all.

    Args:
        path: the file.
        images: their file names.
        labels: the best classes of each.

    Raises:
        DataError: a class is called by no number.
    """
    answers = [" ".join(str(class_number(label)) for label in best) for best in labels]
    write_answers(path, COLUMNS, images, answers)
