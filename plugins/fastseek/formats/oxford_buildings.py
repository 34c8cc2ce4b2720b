"""Oxford5k and Paris6k as their authors give them: four text files a query."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from ..errors import DataError
from ..io.paths import PathLike
from .listed import Box, read_lines

QUERY = "_query.txt"
KINDS = ("good", "ok", "junk")
PREFIX = "oxc1_"  # before the names of Oxford's query images, and of none of its files
# Of Paris6k twenty images cannot be decoded whole; everybody leaves them out.
DAMAGED = frozenset(
    """paris_louvre_000136 paris_louvre_000146 paris_moulinrouge_000422 paris_museedorsay_001059
    paris_notredame_000188 paris_pantheon_000284 paris_pantheon_000960 paris_pantheon_000974
    paris_pompidou_000195 paris_pompidou_000196 paris_pompidou_000201 paris_pompidou_000467
    paris_pompidou_000640 paris_sacrecoeur_000299 paris_sacrecoeur_000330 paris_sacrecoeur_000353
    paris_triomphe_000662 paris_triomphe_000833 paris_triomphe_000863
    paris_triomphe_000867""".split()
)


@dataclasses.dataclass(frozen=True)
class BuildingQuery:
    """One query.

    Args:
        name: such as "all_souls_1".
        image: the image it is cut from, without suffix.
        box: left, top, right, bottom in pixels.
        good, ok, junk: names of images without suffix: most of the object is seen, more than a
            quarter, less.
    """

    name: str
    image: str
    box: Box
    good: tuple[str, ...]
    ok: tuple[str, ...]
    junk: tuple[str, ...]


def read_queries(folder: PathLike) -> list[BuildingQuery]:
    """Read all queries of a folder of NAME_query.txt, NAME_good.txt, NAME_ok.txt and NAME_junk.txt,
    by name.

    Raises:
        DataError: there is none, a file is missing or damaged, or an image is of two kinds; names
            the file.
    """
    folder = pathlib.Path(folder)
    names = sorted(path.name.removesuffix(QUERY) for path in folder.glob(f"*{QUERY}"))
    if not names:
        raise DataError(f"{folder}: expected files NAME{QUERY}, such as all_souls_1{QUERY}")
    return [_read_query(folder, name) for name in names]


def _read_query(folder: pathlib.Path, name: str) -> BuildingQuery:
    file = folder / f"{name}{QUERY}"
    words = " ".join(read_lines(file)).split()
    try:
        image, left, top, right, bottom = words[0], *map(float, words[1:])
    except (IndexError, ValueError) as error:
        raise DataError(
            f"{file}: expected an image and x1 y1 x2 y2, found {' '.join(words)!r}"
        ) from error
    lists = {kind: _read_names(folder / f"{name}_{kind}.txt") for kind in KINDS}
    seen: dict[str, str] = {}
    for kind, found in lists.items():
        for one in found:
            if seen.setdefault(one, kind) != kind:
                raise DataError(f"{file}: {one} is both {seen[one]} and {kind}")
    return BuildingQuery(name, image.removeprefix(PREFIX), (left, top, right, bottom), **lists)


def _read_names(file: pathlib.Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.strip() for line in read_lines(file) if line.strip()))


def number_images(names: Sequence[str], listed: Sequence[str], where: str) -> list[int]:
    """The rows of listed images; damaged ones that were left out have none.

    Raises:
        DataError: one is not there.
    """
    rows = {name: row for row, name in enumerate(names)}
    missing = next((one for one in listed if one not in rows and one not in DAMAGED), None)
    if missing is not None:
        raise DataError(f"{where}: lists {missing}, and there is no image of that name")
    return [rows[one] for one in listed if one in rows]
