"""Metadata by id: columns of text or numbers."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, shorten
from ..io import csv_rows
from ..io.paths import PathLike
from ..knn.align import rows_of
from ..structures.arrays import StringArray
from .names import decode_names, encode_names

NUMBER, TEXT = "number", "text"
RESERVED = ("path", "content")  # of images that were embedded by name: the file, and its hash
CODE = re.compile(r"\s*[+-]?0\d")  # 007 is a name, and would lose its zeros as a number
Metadata = Mapping[str, Sequence[Any] | np.ndarray]
Columns = dict[str, np.ndarray]


def encode_columns(metadata: Metadata, ids: StringArray, kinds: Mapping[str, str]) -> Columns:
    """Metadata as it is stored: float64, NaN where a number is missing, or UTF-8 bytes, empty where
    a text is.

    Args:
        metadata: a value an image and column; None, "" and NaN are missing.
        ids: [N], for errors.
        kinds: of the columns that are known: "number" or "text".

    Raises:
        DataError: a column has another length or kind than it must.
        UsageError: a column cannot be called so.
    """
    made: Columns = {}
    for name, values in metadata.items():
        check_name(name)
        if len(values) != len(ids):
            raise DataError(f"column {name!r} has {len(values)} values for {len(ids)} images")
        given = values.tolist() if isinstance(values, np.ndarray) else list(values)
        kind = kinds.get(name) or _kind_of(given)
        make = _encode_numbers if kind == NUMBER else _encode_texts
        made[name] = make(name, given, ids)
    return made


def check_name(name: str) -> None:
    """Check that a column can be called so: a filter writes its name as it stands.

    Raises:
        UsageError: it cannot.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name == "id":
        raise UsageError(
            f"no column can be called {name!r}: a name is of letters, digits and _, and is not id"
        )


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that 64 bits hold."""
    try:
        return isinstance(value, (bool, int, float)) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all measure
        return False


def kind_of_column(column: np.ndarray) -> str:
    """The kind of a stored column."""
    return NUMBER if column.dtype.kind == "f" else TEXT


def decode_column(column: np.ndarray) -> list[Any]:
    """The values of a stored column, None where one is missing."""
    if kind_of_column(column) == NUMBER:
        return [None if math.isnan(value) else _plain(value) for value in column.tolist()]
    return [value or None for value in decode_names(column).tolist()]


def missing_column(kind: str, rows: int) -> np.ndarray:
    """A stored column in which all is missing."""
    return np.full(rows, np.nan) if kind == NUMBER else np.zeros(rows, "S1")


def read_metadata(
    path: PathLike, kinds: Mapping[str, str]
) -> tuple[list[str], dict[str, list[Any]]]:
    """The ids and columns of a CSV table.

    A column is of numbers where all of its values are, and none is written like 007.

    Args:
        path: a CSV file with the column id, or path.
        kinds: of the columns that are known.

    Raises:
        DataError: it cannot be read, or a value is no number where one is needed; names the line.
    """
    header = csv_rows.read_header(path)
    key = "id" if "id" in header else "path"
    if key not in header:
        raise DataError(
            f"{path}:1: the header must hold id (or path), found {shorten(','.join(header))!r}"
        )
    names = [name for name in header if name not in ("id", "path")]
    ids: list[str] = []
    columns: dict[str, list[Any]] = {name: [] for name in names}
    lines: dict[str, int] = {}
    for line, row in csv_rows.read(path, [key, *names], allow_mark=True, raw_names=True):
        ids.append(csv_rows.unguard_cell(row[0]))
        before = lines.setdefault(ids[-1], line)
        if before != line:
            told = shorten(ids[-1])
            raise DataError(f"{path}:{line}: {told!r} stands in line {before} already")
        for name, value in zip(names, row[1:], strict=True):
            columns[name].append(value)
    for name, values in columns.items():
        check_name(name)
        kind = kinds.get(name) or (NUMBER if all(map(_is_number, values)) else TEXT)
        if kind == NUMBER:
            columns[name] = [_parse(value, path, name, row) for row, value in enumerate(values)]
    return ids, columns


class MetadataTable:
    """A table of metadata: a row an image.

    Args:
        path: a CSV file, see `read_metadata`.
        kinds: of the columns that are known.

    Raises:
        DataError: it cannot be read. UsageError: a column cannot be called so.
    """

    def __init__(self, path: PathLike, kinds: Mapping[str, str]) -> None:
        self.path = path
        self.ids, self.columns = read_metadata(path, kinds)
        for name in set(RESERVED) & set(self.columns):
            raise UsageError(f"{path}: the column {name!r} is kept by the index: call it otherwise")

    def check_ids(self, ids: Sequence[str] | StringArray) -> None:
        """Check that every row is of one of these images.

        Raises:
            DataError: one is not.
        """
        unknown = np.flatnonzero(rows_of(self.ids, ids) < 0)
        if len(unknown):
            raise DataError(
                f"{self.path}: {len(unknown)} of {len(self.ids)} rows are of no image that is put"
                f" in, such as {shorten(self.ids[unknown[0]])!r}"
            )

    def pick(self, ids: Sequence[str] | StringArray) -> dict[str, list[Any]]:
        """The columns in the order of some ids; an id without a row has no values."""
        rows = rows_of(ids, self.ids).tolist()
        return {
            name: [values[row] if row >= 0 else None for row in rows]
            for name, values in self.columns.items()
        }


def _is_number(text: str) -> bool:
    return not text.strip() or not CODE.match(text) and _float(text) is not None


def _parse(text: str, path: PathLike, name: str, row: int) -> float | None:
    if not text.strip():
        return None
    value = _float(text)
    if value is None:
        raise DataError(
            f"{path}: row {row + 1}: {name} must be a number in this index, found {text!r}"
        )
    return value


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _kind_of(values: Sequence[Any]) -> str:
    return TEXT if any(isinstance(value, str) and value for value in values) else NUMBER


def _encode_numbers(name: str, values: Sequence[Any], ids: StringArray) -> np.ndarray:
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value is None or value == "":
            continue
        if not is_number(value) and value == value:  # NaN is missing
            told = shorten(repr(value))
            raise DataError(f"column {name!r} of {str(ids[row])!r}: {told} is no number")
        numbers[row] = value
    return numbers


def _encode_texts(name: str, values: Sequence[Any], ids: StringArray) -> np.ndarray:
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise DataError(f"column {name!r} of {str(ids[row])!r}: {value!r} is no text")
    return encode_names([value or "" for value in values], f"text in column {name!r}")


def _plain(value: float) -> float | int:
    """A whole number without its point."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
