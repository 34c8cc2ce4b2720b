"""Labels of images, read from a CSV file."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DataError
from ..io import csv_rows
from ..io.paths import PathLike

COLUMNS = ("label", "landmark_id")


def read_labels(path: PathLike, split: str = "", allow_empty: bool = False) -> dict[str, str]:
    """Image id -> label, from a CSV file with the columns `id` and `label` (or `landmark_id`).

    Args:
        path: the file; other columns and another order of them do not matter.
        split: where the file has a column `split`, only the rows of this one are taken; "" for all.
        allow_empty: whether an image may have no label.

    Raises:
        DataError: as for `iterate_labels`.
    """
    return {name: label for _, name, label in iterate_labels(path, split, allow_empty)}


def iterate_labels(
    path: PathLike, split: str = "", allow_empty: bool = False
) -> Iterator[tuple[int, str, str]]:
    """Yield (line, id, label) for every row; the arguments are those of `read_labels`.

    Raises:
        DataError: the file cannot be read, a column is missing, a row is cut, a label is empty or
            an id stands twice; names file and line.
    """
    header = csv_rows.read_header(path)
    column = next((name for name in COLUMNS if name in header), None)
    if "id" not in header or column is None:
        raise DataError(
            f"{path}:1: needs the columns id and {' or '.join(COLUMNS)}, found"
            f" {', '.join(header) or 'none'}"
        )
    by_split = bool(split) and "split" in header
    columns = ("id", column, "split") if by_split else ("id", column)
    known: dict[str, int] = {}
    for line, (name, label, *part) in csv_rows.read(path, columns, allow_mark=True):
        if by_split and part != [split]:
            continue
        label = label.strip()
        if not name or not (label or allow_empty):
            raise DataError(f"{path}:{line}: needs an id and a label, found {name!r} and {label!r}")
        before = known.setdefault(name, line)
        if before != line:
            raise DataError(
                f"{path}:{line}: id {name!r} stands twice, first in line {before}, must be once"
            )
        yield line, name, label
