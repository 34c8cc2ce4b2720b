"""The official lists of Google Landmarks v2 (Weyand et al. 2020), read row by row into columns: 4
million rows are no 4 million objects.
"""

from __future__ import annotations

import array
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..io import csv_rows
from ..io.csv_rows import check_unique, parse_integer
from ..io.paths import PathLike
from .gldv2_names import category, layout

USAGES = ("Public", "Private", "Ignored")
CHUNK = 65536  # names held as Python strings at once

NamedRow = tuple[int, str]
_read_table = functools.partial(csv_rows.read, allow_mark=True)


class Labelled(NamedTuple):
    """Images and the landmark each shows, in the file's own label space: `ids` [N] strings or byte
    strings, `landmarks` [N] int64, negative for none.
    """

    ids: np.ndarray
    landmarks: np.ndarray


def read_labelled(path: PathLike) -> Labelled:
    """Read train.csv (id,…,landmark_id), index_image_to_landmark.csv or train_clean.csv
    (landmark_id,images); ids are byte strings.

    Raises:
        DataError: an id is too short to have a folder, is no word or stands twice, or a landmark is
            no whole number; names file and line.
    """
    by_landmark = "images" in csv_rows.read_header(path)
    read = _read_landmark_rows if by_landmark else _read_image_rows
    landmarks = array.array("q")

    def names() -> Iterator[NamedRow]:
        for line, name, landmark in read(path):
            landmarks.append(landmark)
            yield line, name

    ids = _gather_images(path, names)
    found = np.frombuffer(landmarks, np.int64) if landmarks else np.empty(0, np.int64)
    return Labelled(ids, found)


def read_ids(path: PathLike) -> np.ndarray:
    """Read index.csv or test.csv: the column id, strings in the order of the file.

    Raises:
        DataError: names file and line.
    """
    seen: dict[str, int] = {}
    for line, (name,) in csv_rows.read(path, ("id",)):
        check_unique(seen, name, path, line)
    return np.asarray(list(seen), str)


def read_solution(path: PathLike) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Read recognition_solution_v2.1.csv (id,landmarks,Usage): ids and landmarks of the queries
    that are scored.

    A query that shows no landmark has none.

    Raises:
        DataError: as for `read_labelled`, and for a Usage that is none of Public, Private and
            Ignored.
    """
    ids: list[NamedRow] = []
    found = []
    for line, (name, landmarks, usage) in _read_table(path, ("id", "landmarks", "Usage")):
        if usage not in USAGES:
            raise DataError(f"{path}:{line}: Usage must be {', '.join(USAGES)}, found {usage!r}")
        if usage != "Ignored":
            ids.append((line, name))
            found.append(tuple(_parse_landmark(word, path, line) for word in landmarks.split()))
    return _gather_images(path, lambda: ids), found


def read_landmarks(path: PathLike) -> np.ndarray:
    """Read landmark ids, one a row: the column landmark_id, or the first value of every row without
    a header.

    Raises:
        DataError: one is no whole number; names file and line.
    """
    rows: Iterable[tuple[int, list[str]]] = csv_rows.read_rows(path, allow_mark=True)
    if "landmark_id" in csv_rows.read_header(path):
        rows = _read_table(path, ("landmark_id",))
    return np.unique(
        np.asarray([_parse_landmark(row[0].strip(), path, line) for line, row in rows], np.int64)
    )


def read_categories(path: PathLike) -> dict[int, str]:
    """Read train_label_to_category.csv, train_label_to_hierarchical.csv or
    index_label_to_category.csv.

    Returns:
        landmark id -> bare name of its category.

    Raises:
        DataError: names file and line.
    """
    found: dict[int, str] = {}
    seen: dict[str, int] = {}
    for line, (landmark, text) in _read_table(path, ("landmark_id", "category")):
        check_unique(seen, landmark, path, line, "landmark_id")
        name = category(text)
        if not name:
            raise DataError(f"{path}:{line}: landmark {landmark} has no category")
        found[_parse_landmark(landmark, path, line)] = name
    return found


def image_path(name: str, suffix: str = ".jpg") -> pathlib.PurePosixPath:
    """Where an image lies below its split's folder: "0123…" -> 0/1/2/0123….jpg.

    Raises:
        DataError: the id is too short, or would leave the folder.
    """
    if len(name) < 3 or not name.isalnum():
        raise DataError(f"image id {name!r} must be letters and digits, three or more")
    return pathlib.PurePosixPath(layout(name, suffix))


def write_train_clean(path: PathLike, images: Labelled) -> None:
    """Write landmark_id,images rows as `read_labelled` reads them, whole or not at all."""
    order = np.argsort(images.landmarks, kind="stable")
    landmarks, starts = np.unique(images.landmarks[order], return_index=True)
    parts = np.split(images.ids[order].astype(str), starts[1:])
    rows = zip(landmarks.tolist(), parts, strict=True)
    lines = ((landmark, " ".join(part.tolist())) for landmark, part in rows)
    csv_rows.write(path, ("landmark_id", "images"), lines)


def _parse_landmark(text: str, path: PathLike, line: int) -> int:
    return parse_integer(text, path, line, "a landmark")


def _read_image_rows(path: PathLike) -> Iterator[tuple[int, str, int]]:
    for line, (name, landmark) in _read_table(path, ("id", "landmark_id")):
        yield line, name, _parse_landmark(landmark, path, line)


def _read_landmark_rows(path: PathLike) -> Iterator[tuple[int, str, int]]:
    seen: dict[str, int] = {}
    for line, (landmark, names) in _read_table(path, ("landmark_id", "images")):
        check_unique(seen, landmark, path, line, "landmark_id")
        words = names.split()
        if not words:
            raise DataError(f"{path}:{line}: landmark {landmark} has no images")
        for name in words:
            yield line, name, _parse_landmark(landmark, path, line)


def _gather_images(path: PathLike, read: Callable[[], Iterable[NamedRow]]) -> np.ndarray:
    """Names as one array of bytes, each of letters and digits, three or more, and once.

    Args:
        path: what errors name.
        read: gives (line, name) of every row; called again only to tell where a name stands twice.
    """
    parts: list[np.ndarray] = []
    chunk: list[str] = []
    for line, name in read():
        if len(name) < 3 or not (name.isascii() and name.isalnum()):
            raise DataError(
                f"{path}:{line}: image id {name[:40]!r} must be letters and digits, three or more:"
                " its first three are folders"
            )
        chunk.append(name)
        if len(chunk) == CHUNK:
            parts.append(np.asarray(chunk, np.bytes_))
            chunk.clear()
    if chunk or not parts:
        parts.append(np.asarray(chunk, np.bytes_))
    ids = np.concatenate(parts)
    order = np.sort(ids)
    twice = np.flatnonzero(order[1:] == order[:-1])
    if len(twice):
        name = order[twice[0]].decode()
        first, second = [line for line, other in read() if other == name][:2]
        raise DataError(
            f"{path}:{second}: image {name!r} stands in line {first} already, must be once"
        )
    return ids
