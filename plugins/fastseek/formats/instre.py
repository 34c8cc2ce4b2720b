"""INSTRE (Wang and Jiang 2015) by the protocol of Iscen et al. 2017: gnd_instre.mat."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import DataError
from ..io.paths import PathLike
from .listed import Box
from .matlab import as_rows, as_texts, read_mat


@dataclasses.dataclass(frozen=True, eq=False)
class InstreGnd:
    """The ground truth.

    Args:
        queries, images: files below the folder of the images.
        boxes: for each query left, top, right, bottom in pixels.
        right: for each query the numbers of its images, from 0, rising.
    """

    queries: tuple[str, ...]
    images: tuple[str, ...]
    boxes: tuple[Box, ...]
    right: tuple[np.ndarray, ...]


def read_gnd(path: PathLike) -> InstreGnd:
    """Read gnd_instre.mat: imlist, qimlist, and gnd with the numbers of right images, from 1, and the
    box.

    Boxes are taken as x1, y1, x2, y2; where that makes one of them empty, all are x, y, width,
    height, as in the text files beside the images.

    Raises:
        DataError: the file is another, or a number is none of an image's.
    """
    page = read_mat(path, "imlist", "qimlist", "gnd")
    images, queries = as_texts(page["imlist"]), as_texts(page["qimlist"])
    rows = [list(row.values()) for row in as_rows(page["gnd"])]
    if len(rows) != len(queries) or any(len(row) < 2 for row in rows):
        raise DataError(
            f"{path}: gnd must have the right images and a box for each of {len(queries)} queries"
        )
    right = [np.unique(np.atleast_1d(np.asarray(row[0], np.int64))) - 1 for row in rows]
    boxes = np.array([np.asarray(row[1], np.float64).ravel()[:4] for row in rows])
    for name, numbers in zip(queries, right, strict=True):
        if not len(numbers) or numbers[0] < 0 or numbers[-1] >= len(images):
            raise DataError(f"{path}: {name}: right images must be numbers 1 to {len(images)}")
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        boxes[:, 2:] += boxes[:, :2]
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        raise DataError(f"{path}: a box is empty, both as x1 y1 x2 y2 and as x y width height")
    corners = tuple((one[0], one[1], one[2], one[3]) for one in boxes.tolist())
    return InstreGnd(tuple(queries), tuple(images), corners, tuple(right))
