"""MARS: names of images, tracklets and queries, in the folder info/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..io.paths import PathLike
from .listed import read_words
from .matlab import as_numbers, read_mat

EXAMPLE = "0001C1T0001F001.jpg"
FOLDER = 4  # letters of a name that are its folder: the person, 0000 a distractor, 00-1 junk
_NAME = re.compile(r"(00-1|\d{4})C\dT\d{4}F\d+\.\w+")


class Tracklets(NamedTuple):
    """Runs of images that show one person.

    Args:
        starts, stops: [N] int64, the first image of each and the one behind its last, rows of the
            list of names from 0.
        persons, cameras: [N] int64; person -1 is junk, 0 a distractor.
    """

    starts: np.ndarray
    stops: np.ndarray
    persons: np.ndarray
    cameras: np.ndarray

    def frames(self, row: int, most: int) -> list[int]:
        """Images of a tracklet, spread evenly over it.

        Args:
            row: which tracklet.
            most: how many at most; 0 for all.
        """
        start, stop = int(self.starts[row]), int(self.stops[row])
        count = stop - start if most == 0 else min(most, stop - start)
        return [start + (2 * one + 1) * (stop - start) // (2 * count) for one in range(count)]


def read_names(path: PathLike) -> list[str]:
    """The images of train_name.txt or test_name.txt as they lie below bbox_train/ or bbox_test/: in
    the folder of their first four letters.

    Raises:
        DataError: a name is another; names file and line.
    """
    found = []
    for line, (name,) in read_words(path, ("name",)):
        if not _NAME.fullmatch(name):
            raise DataError(f"{path}:{line}: expected a name such as {EXAMPLE}, found {name!r}")
        found.append(f"{name[:FOLDER]}/{name}")
    return found


def read_tracklets(path: PathLike, variable: str, images: int) -> Tracklets:
    """The rows of tracks_train_info.mat or tracks_test_info.mat: first image, last image, person,
    camera.

    Args:
        path: the file.
        variable: "track_train_info" or "track_test_info".
        images: how many the list of names holds.

    Raises:
        DataError: the file is another, or a tracklet reaches beyond the names.
    """
    table = np.atleast_2d(np.asarray(read_mat(path, variable)[variable]))
    if table.ndim != 2 or table.shape[1] != 4:
        raise DataError(f"{path}: {variable} must be [N, 4], found {list(table.shape)}")
    starts, stops, persons, cameras = table.astype(np.int64).T
    wrong = np.flatnonzero((starts < 1) | (stops < starts) | (stops > images))
    if len(wrong):
        raise DataError(
            f"{path}: tracklet {wrong[0] + 1} is the images {starts[wrong[0]]} to"
            f" {stops[wrong[0]]}, and there are {images}"
        )
    return Tracklets(starts - 1, stops, persons, cameras)


def read_queries(path: PathLike, tracklets: int) -> Sequence[int]:
    """The tracklets that ask, from 0, of query_IDX.mat.

    Raises:
        DataError: the file is another, or names a tracklet that is not there.
    """
    found = as_numbers(read_mat(path, "query_IDX")["query_IDX"]) - 1
    if len(found) and not 0 <= found.min() <= found.max() < tracklets:
        raise DataError(f"{path}: expected tracklets 1 to {tracklets}, found {found.max() + 1}")
    return [int(one) for one in found]
