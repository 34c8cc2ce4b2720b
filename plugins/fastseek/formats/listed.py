"""An image as the lists of a benchmark tell of it, and lines of words."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import DataError, refuse_exhausted, shorten
from ..io.paths import PathLike

SHOWN = 80  # letters of a line that an error tells
Box = tuple[float, float, float, float]


class Listed(NamedTuple):
    """An image of a benchmark.

    Args:
        name: its file, below the folder of the images.
        label: its class; "" for one that answers no query.
        split: "train", "query", "gallery" or "test", as of an `Item`.
        group: camera or session; "" when unknown.
        box: what is shown of the class: left, top, right, bottom in pixels.
        part: which of several things in the file; its id ends with it.
    """

    name: str
    label: str
    split: str
    group: str = ""
    box: Box | None = None
    part: str = ""

    @property
    def id(self) -> str:
        """The name, and the part behind it."""
        return f"{self.name}/{self.part}" if self.part else self.name


def read_lines(path: PathLike) -> list[str]:
    """The lines of a text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: it cannot be read; names it.
    """
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason})") from error


def read_words(
    path: PathLike, columns: Sequence[str], head: int = 0, separator: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of a line and its words, blank lines passed over.

    Args:
        path: the file.
        columns: what the words are, for an error; each line has as many.
        head: lines at the beginning that are no rows.
        separator: what stands between words; white space when not given.

    Raises:
        DataError: a line has more or fewer words; names file and line.
    """
    for number, line in enumerate(read_lines(path)[head:], head + 1):
        words = [word.strip() for word in line.strip().split(separator)]
        if not any(words):
            continue
        if len(words) != len(columns):
            raise DataError(
                f"{path}:{number}: expected {(separator or ' ').join(columns)}, found"
                f" {shorten(line.strip(), SHOWN)!r}"
            )
        yield number, words


def check_header(path: PathLike, line: int, columns: Sequence[str]) -> None:
    """Look whether a line of a file names its columns.

    Raises:
        DataError: it names others.
    """
    lines = read_lines(path)
    found = lines[line - 1].split() if len(lines) >= line else []
    if found != list(columns):
        raise DataError(
            f"{path}:{line}: expected the header {' '.join(columns)}, found"
            f" {shorten(' '.join(found), SHOWN)!r}"
        )
