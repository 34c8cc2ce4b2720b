"""Products-10K: train.csv and the labelled list of the test."""

from __future__ import annotations

from ..errors import DataError
from ..io import csv_rows
from ..io.csv_rows import check_unique
from ..io.paths import PathLike
from .listed import Listed

COLUMNS = ("name", "class")


def read_list(path: PathLike, split: str) -> list[Listed]:
    """The images of train.csv (name,class,group) or test_kaggletest.csv (name,class,Usage).

    Raises:
        DataError: an image stands twice or has no class, or the file is another; names file and
            line.
    """
    seen: dict[str, int] = {}
    found = []
    for line, (name, label) in csv_rows.read(path, COLUMNS, allow_mark=True):
        check_unique(seen, name, path, line, "name")
        if not label.strip():
            raise DataError(f"{path}:{line}: {name} has no class")
        found.append(Listed(name, label.strip(), split))
    return found
