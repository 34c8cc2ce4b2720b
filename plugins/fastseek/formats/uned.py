"""UnED (Ypsilantis et al. 2023): the splits in info_files/DOMAIN/SPLIT.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import DataError
from ..io.json_files import read_json
from ..io.paths import PathLike

DOMAINS = ("cars", "sop", "inshop", "inat", "met", "gldv2", "food2k", "rp2k")
# Split -> domain -> the list that is searched; a domain that is not told searches its queries.
SEARCHED = {
    "train": {},
    "val": {"met": "small_index"},
    "test": {"inshop": "index", "met": "index", "gldv2": "index"},
}


class UnedImage(NamedTuple):
    """An image.

    Args:
        name: its file below images/.
        classes: numbers of its classes within the domain; several for queries of gldv2.
    """

    name: str
    classes: tuple[str, ...]


def read_split(path: PathLike) -> list[UnedImage]:
    """Read a list [{"path", "class_id"}].

    Raises:
        DataError: the file is another; names the entry.
    """
    page = read_json(path)
    if not isinstance(page, list) or not page:
        raise DataError(f'{path}: expected a list of {{"path": …, "class_id": …}}')
    return [_image(one, f"{path}: entry {row}") for row, one in enumerate(page)]


def searched_list(domain: str, split: str) -> str:
    """The list that the queries of a split are searched in."""
    return SEARCHED[split].get(domain, split)


def _image(one: Any, where: str) -> UnedImage:
    try:
        told = one["class_id"]
        many = told if isinstance(told, Sequence) and not isinstance(told, str) else [told]
        return UnedImage(str(one["path"]), tuple(str(int(number)) for number in many))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{where}: expected "path" and "class_id", found {one!r}') from error
