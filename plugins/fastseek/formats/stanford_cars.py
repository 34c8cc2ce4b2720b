"""CARS196 (Stanford Cars): cars_annos.mat, or the lists of the devkit."""

from __future__ import annotations

from typing import Any

from ..errors import DataError
from ..io.paths import PathLike
from .listed import Box, Listed
from .matlab import as_rows, as_texts, read_mat, take_fields

SIDES = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
LAST_TRAINED = 98  # the classes 1 to 98 train, 99 to 196 are the test


def read_annotations(path: PathLike) -> list[Listed]:
    """The images of cars_annos.mat, named as in car_ims.tgz ("car_ims/000001.jpg"); the label is
    the class as class_names has it.

    Raises:
        DataError: the file is another; names the image.
    """
    page = read_mat(path, "annotations", "class_names")
    return _read_rows(page["annotations"], as_texts(page["class_names"]), path, "relative_im_path")


def read_devkit(path: PathLike, meta: PathLike, folder: str) -> list[Listed]:
    """The images of cars_train_annos.mat or cars_test_annos_withlabels.mat.

    Args:
        path: the list.
        meta: cars_meta.mat, which names the classes.
        folder: what the images lie in, such as "cars_train".

    Raises:
        DataError: a file is another, or the list has no classes, as cars_test_annos.mat.
    """
    names = as_texts(read_mat(meta, "class_names")["class_names"])
    found = _read_rows(read_mat(path, "annotations")["annotations"], names, path, "fname")
    return [one._replace(name=f"{folder}/{one.name}") for one in found]


def _read_rows(annotations: Any, names: list[str], path: PathLike, field: str) -> list[Listed]:
    found = []
    for number, row in enumerate(as_rows(annotations), 1):
        where = f"{path}: annotation {number}"
        image, kind, *sides = take_fields(row, (field, "class", *SIDES), where)
        try:
            box: Box = tuple(map(float, sides))  # type: ignore[assignment]
            kind = int(kind)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: expected numbers, found {[kind, *sides]}") from error
        if not 1 <= kind <= len(names):
            raise DataError(f"{where}: class {kind} is none of 1 to {len(names)}")
        split = "train" if kind <= LAST_TRAINED else "test"
        found.append(Listed(str(image), names[kind - 1], split, box=box))
    return found
