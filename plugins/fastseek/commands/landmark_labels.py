"""Which landmark every image shows, from a CSV file."""

from __future__ import annotations

from ..files import PathLike
from ..rerank.labels import read_labels
from ..rows import table, whole_number


def read_landmarks(path: PathLike) -> dict[str, int]:
    """Image id -> landmark, as `read_labels` reads them, all whole numbers.

    Raises:
        DataError: as for `read_labels`, or a landmark is no whole number; names file and line.
    """
    known = read_labels(path)
    return {name: whole_number(known[name], path, line, "landmark")
            for line, (name,) in table(path, ("id",), marked=True)}
