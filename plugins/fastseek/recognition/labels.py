"""The labels of images, from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from ..errors import DataError
from ..io.csv_rows import parse_integer
from ..io.paths import PathLike

COLUMNS = ("label", "landmark_id")


def read_labels(path: PathLike) -> dict[str, str]:
    """Image id -> label, from a CSV file with the columns `id` and `label` (or `landmark_id`) in
    any order.

    Raises:
        DataError: as for `labelled`.
    """
    return {name: label for _, name, label in iterate_labels(path)}


def iterate_labels(path: PathLike) -> Iterator[tuple[int, str, str]]:
    """Yield (line, id, label) for every row.

    Raises:
        DataError: the file cannot be read, a column is missing, a row is cut, a label is empty or
            an id stands twice; names file and line.
    """
    known: set[str] = set()
    for line, name, label in _read_rows(path):
        if not name or not label:
            raise DataError(f"{path}:{line}: needs an id and a label, found {name!r} and {label!r}")
        if name in known:
            raise DataError(f"{path}:{line}: id {name!r} stands twice, must be once")
        known.add(name)
        yield line, name, label


def _read_rows(path: PathLike) -> Iterator[tuple[int, str, str]]:
    """Yield (line, id, label)."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip() for name in next(rows, [])]
            column = next((name for name in COLUMNS if name in header), None)
            if "id" not in header or column is None:
                raise DataError(
                    f"{path}:1: needs the columns id and {' or '.join(COLUMNS)}, found"
                    f" {','.join(header)}"
                )
            places = header.index("id"), header.index(column)
            for row in rows:
                if row and len(row) != len(header):
                    raise DataError(
                        f"{path}:{rows.line_num}: {len(row)} values, the header has {len(header)}"
                    )
                if row:
                    yield rows.line_num, row[places[0]], row[places[1]].strip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from error


def read_landmarks(path: PathLike) -> dict[str, int]:
    """Image id -> landmark, as `labelled` yields them, all whole numbers.

    Raises:
        DataError: as for `labelled`, or a landmark is no whole number; names file and line.
    """
    return {
        name: parse_integer(label, path, line, "landmark")
        for line, name, label in iterate_labels(path)
    }
