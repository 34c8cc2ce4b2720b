"""The Met data set (Ypsilantis et al. 2021): the JSON files of its ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import DataError
from ..io.json_files import read_json
from ..io.paths import PathLike


class MetImage(NamedTuple):
    """An image.

    Args:
        name: its file below images/.
        exhibit: the number of what it shows; "" for a query that shows no exhibit of the database.
    """

    name: str
    exhibit: str


def read_database(path: PathLike) -> list[MetImage]:
    """Read MET_database.json or mini_MET_database.json: [{"path", "id"}].

    Raises:
        DataError: the file is another; names the entry.
    """
    return _read(path, "id", needed=True)


def read_queries(path: PathLike) -> list[MetImage]:
    """Read testset.json or valset.json: [{"path", "MET_id"}], the latter only of those that show an
    exhibit; the others are distractors (other art, or none).

    Raises:
        DataError: the file is another; names the entry.
    """
    return _read(path, "MET_id", needed=False)


def _read(path: PathLike, key: str, needed: bool) -> list[MetImage]:
    page = read_json(path)
    if not isinstance(page, Sequence) or isinstance(page, str) or not page:
        raise DataError(f'{path}: expected a list of {{"path": …, "{key}": …}}')
    return [_image(one, key, needed, f"{path}: entry {row}") for row, one in enumerate(page)]


def _image(one: Any, key: str, needed: bool, where: str) -> MetImage:
    try:
        return MetImage(str(one["path"]), str(int(one[key])) if needed or key in one else "")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{where}: expected "path" and "{key}", found {one!r}') from error
