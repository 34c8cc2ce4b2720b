"""CSV files: read row by row with the line of each, written whole or not at all.

All readers of the package share the errors here, so that a damaged file is refused in one way.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from ..errors import DataError, refuse_exhausted, shorten
from .atomic import atomic
from .paths import PathLike

Row = tuple[int, list[str]]
FORMULA = tuple("=+-@\t\r")  # what a spreadsheet takes for the beginning of one
GZIP = b"\x1f\x8b"  # how a compressed file begins
SHOWN = 80  # letters of a row or value that an error tells


def read(
    path: PathLike,
    columns: Sequence[str],
    only: bool = False,
    allow_mark: bool = False,
    raw_names: bool = False,
) -> Iterator[Row]:
    """Yield (line, the values of `columns`) for every row below the header; blank rows are passed
    over.

    Args:
        path: a CSV file in UTF-8.
        columns: names that must stand in the header.
        only: whether other columns are refused; so is another order of them.
        allow_mark: whether a byte order mark is passed over.
        raw_names: whether file names that are no UTF-8 are read as the bytes they have on disk.

    Raises:
        DataError: the file cannot be read, its header is another or names a column twice, or a row
            has more or fewer values; names the line.
    """
    lines = read_rows(path, allow_mark, raw_names)
    line, header = next(lines, (1, []))
    names = [name.strip() for name in header]
    if only and names != list(columns) or not set(columns) <= set(names):
        raise DataError(
            f"{path}:{line}: the header must {'be' if only else 'hold'} {','.join(columns)}, found"
            f" {repr(shorten(','.join(header), SHOWN)) if header else 'nothing'}{_separator(header)}"
        )
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise DataError(
            f"{path}:{line}: the header names the column {twice[0]!r} twice, must be once"
        )
    places = [names.index(name) for name in columns]
    for line, row in lines:
        if len(row) != len(header):
            raise DataError(
                f"{path}:{line}: {len(row)} values, the header has {len(header)}: "
                f"{shorten(','.join(row), SHOWN)}"
            )
        yield line, [row[place] for place in places]


def read_header(path: PathLike) -> list[str]:
    """The names of the columns, without the spaces around them; none in an empty file.

    Raises:
        DataError: as for `read_rows`.
    """
    _, header = next(read_rows(path, allow_mark=True), (1, []))
    return [name.strip() for name in header]


def read_rows(path: PathLike, allow_mark: bool = False, raw_names: bool = False) -> Iterator[Row]:
    """Yield (line, values) for every row that is not blank; the arguments are those of `read`.

    Raises:
        DataError: the file cannot be read or is no CSV file in UTF-8; names the line.
    """
    csv.field_size_limit(1 << 30)  # a class of 10,000 images is one value of 170,000 letters
    line = 0
    try:
        errors = "surrogateescape" if raw_names else "strict"
        with open(path, encoding="utf-8", errors=errors, newline="") as file:
            if file.read(1) != "\ufeff":
                file.seek(0)
            elif not allow_mark:
                raise DataError(
                    f"{path}:1: begins with a byte order mark, which contests refuse: save it as"
                    " plain UTF-8"
                )
            reader = csv.reader(file, strict=True)
            for row in reader:
                line = reader.line_num
                if "\0" in "".join(row):
                    raise DataError(
                        f"{path}:{line}: holds a zero byte, so it is no text: write the file anew"
                    )
                if row and (row[0].strip() or any(value.strip() for value in row)):
                    yield line, row
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        if is_compressed(path):
            raise DataError(f"{path}: is compressed: unpack it first (gunzip {path})") from error
        raise DataError(f"{path}:{_line_of(path, error)}: not UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise DataError(f"{path}:{line + 1}: not a CSV row ({error})") from error


def write(path: PathLike, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a header and rows, whole or not at all; file names that are no UTF-8 as on disk. A name
    that ends in .gz makes it a file of gzip.

    Raises:
        UsageError: nothing can be written there.
    """
    lines = itertools.chain(format_rows([columns]), format_rows(rows))
    if not os.fspath(path).endswith(".gz"):
        with atomic(path, "w") as file:
            file.writelines(lines)
        return
    with atomic(path) as out, gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed:
        packed.writelines(line.encode("utf-8", "surrogateescape") for line in lines)


def format_rows(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield every row as a line of a CSV file, its end included."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def guard_cell(text: str) -> str:
    """A name for a table that people open in a spreadsheet, which would read "=1+1.jpg" as a
    formula: then with an apostrophe before it.
    """
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def guard_row(row: Iterable[object]) -> list[object]:
    """The values of a row, its texts as `guard_cell` gives them."""
    return [guard_cell(value) if isinstance(value, str) else value for value in row]


def unguard_cell(text: str) -> str:
    """The name that `guard_cell` was given."""
    return text[1:] if text[:1] == "'" and _is_formula(text.lstrip("'")) else text


def is_compressed(path: PathLike) -> bool:
    """Whether a file is one of gzip."""
    with open(path, "rb") as file:
        return file.read(len(GZIP)) == GZIP


def _is_formula(text: str) -> bool:
    return text[:1] in FORMULA


def check_unique(
    seen: dict[str, int], name: str, path: PathLike, line: int, what: str = "id"
) -> None:
    """Note that `name` stands in `line`.

    Raises:
        DataError: it is empty, holds a space, or stood in an earlier line.
    """
    if not name or name != name.strip() or " " in name:
        raise DataError(f"{path}:{line}: {what} {name!r} must be one word")
    before = seen.setdefault(name, line)
    if before != line:
        raise DataError(
            f"{path}:{line}: {what} {name!r} stands in line {before} already, must be once"
        )


def parse_integer(text: str, path: PathLike, line: int, what: str) -> int:
    """A whole number in digits.

    Raises:
        DataError: it is none.
    """
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise DataError(
            f"{path}:{line}: {what} must be a whole number, found {shorten(text, SHOWN)!r}"
        )
    return int(text)


def _separator(header: Sequence[str]) -> str:
    found = next(
        (sign for sign in ("\t", ";", " ") if len(header) == 1 and sign in header[0].strip()), None
    )
    return f"; values must be separated by commas, not {found!r}" if found else ""


def _line_of(path: PathLike, error: UnicodeDecodeError) -> int:
    """The line of the first byte that is not UTF-8; the error itself tells of a buffer only."""
    content = pathlib.Path(path).read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as whole:
        return content.count(b"\n", 0, whole.start) + 1
    return content.count(b"\n", 0, error.start) + 1
