"""Google Landmarks v2 (Weyand et al. 2020): which images there are, and what they show in which
label space.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from ..errors import DataError
from ..io import csv_rows
from ..io.csv_rows import check_unique, parse_integer
from ..io.paths import PathLike
from .gldv2_names import category, layout


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Images and the landmark each shows: `ids` [N] strings, `landmarks` [N] int64 of the file's
    own label space.
    """

    ids: np.ndarray
    landmarks: np.ndarray


def read_train(path: PathLike) -> Labelled:
    """Read train.csv (id,url,landmark_id, or id,landmark_id as in 2020 and 2021) or
    index_image_to_landmark.csv.

    Raises:
        DataError: names file and line.
    """
    ids, landmarks = [], []
    seen: dict[str, int] = {}
    for line, (name, landmark) in csv_rows.read(path, ("id", "landmark_id")):
        check_unique(seen, name, path, line)
        ids.append(name)
        landmarks.append(parse_integer(landmark, path, line, "landmark_id"))
    return Labelled(np.asarray(ids, str), np.asarray(landmarks, np.int64))


def read_train_clean(path: PathLike) -> Labelled:
    """Read train_clean.csv: landmark_id,images with the images of a landmark in one value.

    Raises:
        DataError: a landmark or an image stands twice, or a landmark has no image; names file and
            line.
    """
    ids: list[str] = []
    landmarks: list[int] = []
    seen: dict[str, int] = {}
    images: dict[str, int] = {}
    for line, (landmark, names) in csv_rows.read(path, ("landmark_id", "images")):
        check_unique(seen, landmark, path, line, "landmark_id")
        words = names.split()
        if not words:
            raise DataError(f"{path}:{line}: landmark {landmark} has no images")
        for name in words:
            if name in images:
                raise DataError(
                    f"{path}:{line}: image {name!r} stands in line {images[name]} already, must be"
                    " once"
                )
            images[name] = line
        ids += words
        landmarks += [parse_integer(landmark, path, line, "landmark_id")] * len(words)
    return Labelled(np.asarray(ids, str), np.asarray(landmarks, np.int64))


def read_ids(path: PathLike) -> np.ndarray:
    """Read index.csv or test.csv: the column id, strings in the order of the file.

    Raises:
        DataError: names file and line.
    """
    seen: dict[str, int] = {}
    for line, (name,) in csv_rows.read(path, ("id",)):
        check_unique(seen, name, path, line)
    return np.asarray(list(seen), str)


def read_categories(path: PathLike) -> dict[int, str]:
    """Read train_label_to_category.csv, train_label_to_hierarchical.csv or
    index_label_to_category.csv.

    Returns:
        landmark id -> category, as `landmarks.category` writes it.

    Raises:
        DataError: names file and line.
    """
    found: dict[int, str] = {}
    seen: dict[str, int] = {}
    for line, (landmark, text) in csv_rows.read(path, ("landmark_id", "category")):
        check_unique(seen, landmark, path, line, "landmark_id")
        if not category(text):
            raise DataError(f"{path}:{line}: landmark {landmark} has no category")
        found[parse_integer(landmark, path, line, "landmark_id")] = category(text)
    return found


def relabel(images: Labelled, mapping: Mapping[int, int]) -> Labelled:
    """The images whose landmark the mapping knows, with the landmark it says."""
    rows = [row for row, landmark in enumerate(images.landmarks.tolist()) if landmark in mapping]
    landmarks = [mapping[landmark] for landmark in images.landmarks[rows].tolist()]
    return Labelled(images.ids[rows], np.asarray(landmarks, np.int64))


def image_path(name: str, suffix: str = ".jpg") -> pathlib.PurePosixPath:
    """Where an image lies below its split's folder: "0123…" -> 0/1/2/0123….jpg.

    Raises:
        DataError: the id is too short, or would leave the folder.
    """
    if len(name) < 3 or not name.isalnum():
        raise DataError(f"image id {name!r} must be letters and digits, three or more")
    return pathlib.PurePosixPath(layout(name, suffix))


def write_train_clean(path: PathLike, images: Labelled) -> None:
    """Write landmark_id,images rows as `read_train_clean` reads them, whole or not at all."""
    order = np.argsort(images.landmarks, kind="stable")
    landmarks, starts = np.unique(images.landmarks[order], return_index=True)
    parts = np.split(images.ids[order], starts[1:])
    csv_rows.write(
        path,
        ("landmark_id", "images"),
        (
            (landmark, " ".join(part.tolist()))
            for landmark, part in zip(landmarks.tolist(), parts, strict=True)
        ),
    )
