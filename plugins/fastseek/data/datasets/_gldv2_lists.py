"""The official lists of Google Landmarks v2, read row by row into columns: 4 million rows are no 4
million objects.
"""

from __future__ import annotations

import array
import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ...formats.gldv2_names import category
from ...io import csv_rows
from ...io.csv_rows import parse_integer, read_rows
from ...io.paths import PathLike

USAGES = ("Public", "Private", "Ignored")
CHUNK = 65536  # names held as Python strings at once
_table, _plain = (
    functools.partial(csv_rows.read, allow_mark=True),
    functools.partial(read_rows, allow_mark=True),
)
_landmark = functools.partial(parse_integer, what="a landmark")


class Labelled(NamedTuple):
    """Images and the landmark each shows: `ids` [N] byte strings, `landmarks` [N] int64, negative
    for none.
    """

    ids: np.ndarray
    landmarks: np.ndarray


def read_labelled(path: PathLike) -> Labelled:
    """Read train.csv (id,…,landmark_id), index_image_to_landmark.csv or train_clean.csv
    (landmark_id,images).

    Raises:
        DataError: an id is too short to have a folder, is no word or stands twice, or a landmark is
            no whole number; names file and line.
    """
    by_landmark = "images" in header(path)
    places = array.array("q")
    rows = _of_landmarks(path) if by_landmark else _table(path, ("id", "landmark_id"))
    ids = _gather_images(
        path,
        (
            (line, name)
            for line, (name, landmark) in rows
            if places.append(_landmark(landmark, path, line)) is None
        ),
    )
    return Labelled(ids, np.frombuffer(places, np.int64) if places else np.empty(0, np.int64))


def read_ids(path: PathLike) -> np.ndarray:
    """Read the column id of index.csv or test.csv: byte strings in the order of the file.

    Raises:
        DataError: as for `read_labelled`.
    """
    return _gather_images(path, ((line, name) for line, (name,) in _table(path, ("id",))))


def read_solution(path: PathLike) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Read recognition_solution_v2.1.csv (id,landmarks,Usage): ids and landmarks of the queries
    that are scored.

    A query that shows no landmark has none.

    Raises:
        DataError: as for `read_labelled`, and for a Usage that is none of Public, Private and
            Ignored.
    """
    ids, found = [], []
    for line, (name, landmarks, usage) in _table(path, ("id", "landmarks", "Usage")):
        if usage not in USAGES:
            raise DataError(f"{path}:{line}: Usage must be {', '.join(USAGES)}, found {usage!r}")
        if usage != "Ignored":
            ids.append((line, name))
            found.append(tuple(_landmark(word, path, line) for word in landmarks.split()))
    return _gather_images(path, ids), found


def read_landmarks(path: PathLike) -> np.ndarray:
    """Read landmark ids, one a row: the column landmark_id, or the first value of every row without
    a header.

    Raises:
        DataError: one is no whole number; names file and line.
    """
    headed = "landmark_id" in header(path)
    rows = (
        _table(path, ("landmark_id",))
        if headed
        else ((line, row[:1]) for line, row in _plain(path))
    )
    return np.unique(
        np.asarray([_landmark(text.strip(), path, line) for line, (text,) in rows], np.int64)
    )


def read_categories(path: PathLike) -> dict[int, str]:
    """Read train_label_to_category.csv or index_label_to_category.csv: landmark id -> bare name of
    its category.

    Raises:
        DataError: names file and line.
    """
    found: dict[int, str] = {}
    for line, (landmark, text) in _table(path, ("landmark_id", "category")):
        name, number = category(text), _landmark(landmark, path, line)
        if not name or number in found:
            raise DataError(f"{path}:{line}: landmark {landmark} has no category, or stands twice")
        found[number] = name
    return found


def header(path: PathLike) -> list[str]:
    """The first row.

    Raises:
        DataError: the file cannot be read.
    """
    return [name.strip() for name in next(_plain(path), (1, []))[1]]


def _of_landmarks(path: PathLike) -> Iterator[tuple[int, tuple[str, str]]]:
    for line, (landmark, names) in _table(path, ("landmark_id", "images")):
        words = names.split()
        if not words:
            raise DataError(f"{path}:{line}: landmark {landmark} has no images")
        for name in words:
            yield line, (name, landmark)


def _gather_images(path: PathLike, names: Iterable[tuple[int, str]]) -> np.ndarray:
    """Names as one array of bytes, each of letters and digits, three or more, and once."""
    parts, held = [], []
    for line, name in names:
        if len(name) < 3 or not (name.isascii() and name.isalnum()):
            raise DataError(
                f"{path}:{line}: image id {name[:40]!r} must be letters and digits, three or more:"
                " its first three are folders"
            )
        held.append(name)
        if len(held) == CHUNK:
            parts.append(np.asarray(held, np.bytes_))
            held.clear()
    ids = (
        np.concatenate([*parts, np.asarray(held, np.bytes_)])
        if parts or held
        else np.empty(0, "S1")
    )
    order = np.sort(ids)
    twice = np.flatnonzero(order[1:] == order[:-1])
    if len(twice):
        name = order[twice[0]]
        raise DataError(
            f"{path}: image {name.decode()!r} stands in rows"
            f" {' and '.join(str(row + 1) for row in np.flatnonzero(ids == name)[:2])} below the"
            " header, must be once"
        )
    return ids
