"""Landmarks of images, from a CSV file."""

from __future__ import annotations

from ..io.csv_rows import parse_integer
from ..io.paths import PathLike
from ..structures.label_file import iterate_labels


def read_landmarks(path: PathLike) -> dict[str, int]:
    """Image id -> landmark, as `iterate_labels` yields them, all whole numbers.

    Raises:
        DataError: as for `iterate_labels`, or a landmark is no whole number; names file and line.
    """
    return {
        name: parse_integer(label, path, line, "landmark")
        for line, name, label in iterate_labels(path)
    }
