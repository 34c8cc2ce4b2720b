"""MSMT17: list_train.txt, list_val.txt, list_query.txt and list_gallery.txt."""

from __future__ import annotations

from ..errors import DataError
from ..io.csv_rows import parse_integer
from ..io.paths import PathLike
from .listed import Listed, read_words

EXAMPLE = "0000/0000_000_01_0303morning_0015_0.jpg"


def read_list(path: PathLike, folder: str, split: str) -> list[Listed]:
    """The images of a list, whose lines are file and person; the camera is the third part of the
    file's name.

    Persons are numbered from 0 in training and anew in the test, so the label of one of the test
    begins with "test".

    Args:
        path: the list.
        folder: what its files lie in.
        split: what its images are.

    Raises:
        DataError: a line or name is another; names file and line.
    """
    found = []
    for line, (name, person) in read_words(path, ("file", "person")):
        number = parse_integer(person, path, line, "the person")
        parts = name.rpartition("/")[2].split("_")
        if len(parts) < 4 or not parts[2].isdigit():
            raise DataError(f"{path}:{line}: expected a name such as {EXAMPLE}, found {name!r}")
        label = str(number) if split == "train" else f"test{number}"
        found.append(Listed(f"{folder}/{name}", label, split, str(int(parts[2]))))
    return found
