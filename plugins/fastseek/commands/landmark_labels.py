"""Which landmark every image shows, from a CSV file."""

from __future__ import annotations

from ..files import PathLike
from ..rerank.labels import labelled
from ..rows import whole_number


def read_landmarks(path: PathLike) -> dict[str, int]:
    """Image id -> landmark, as `labelled` yields them, all whole numbers.

    Raises:
        DataError: as for `labelled`, or a landmark is no whole number; names file and line.
    """
    return {
        name: whole_number(label, path, line, "landmark") for line, name, label in labelled(path)
    }
