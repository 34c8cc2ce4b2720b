"""A table of images: CSV or Parquet with the columns path, label and, if wanted, group, split, id
and others.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from ...errors import DataError, UsageError
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import Item, parse_geolocation

SPLITS = ("train", "query", "gallery")
_KNOWN = ("path", "label", "group", "split", "id")

Row = tuple[str, dict[str, Any]]


@DATASETS.register()
class Manifest:
    """Images listed in a table with a header: `path,label[,group,split,id,…]`; other columns go
    into `Item.meta`.

    Of those lat, lon (degrees), date (ISO 8601) and location_uncertainty (metres) are checked, see
    `structures.place`.

    CSV may be separated by comma, semicolon or tab, with or without BOM, quotes and CRLF. An empty
    split means "train". To train on an image and search in it too, list it twice with two splits.

    Args:
        path: the table, as it stands or below one of the data roots.
        root: the folder relative paths start from; the table's own when not given.

    Raises:
        DataError: names file:line, what is wrong there and what was expected.
    """

    def __init__(self, path: str, root: str | None = None) -> None:
        table = locate(path, "the list of images")
        self.root = str(table.parent if root is None else locate(root, "the images"))
        rows = _parquet(table) if table.suffix.lower() in (".parquet", ".pq") else _csv(table)
        seen: dict[tuple[str, str], str] = {}
        self.items = [_item(where, row, self.root, seen) for where, row in rows]
        if not self.items:
            raise DataError(f"{table}: has no rows below its header")


def _item(where: str, row: dict[str, Any], root: str, seen: dict[tuple[str, str], str]) -> Item:
    path, label, group, split, name = (_text(where, row, column) for column in _KNOWN)
    if not path:
        raise DataError(f"{where}: the path is empty")
    split = split or "train"
    if split not in SPLITS:
        raise DataError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}")
    name = name or _id(path, root)
    before = seen.setdefault((split, name), where)
    if before != where:
        raise DataError(
            f"{where}: id {name!r} stands already in {before} with the same split; ids must differ"
        )
    meta = {column: value for column, value in row.items() if column not in _KNOWN}
    parse_geolocation(meta, where)
    return Item(
        path=os.path.join(root, path), label=label, group=group, split=split, id=name, meta=meta
    )


def _id(path: str, root: str) -> str:
    pure = pathlib.PurePath(path)
    if pure.is_absolute() and pure.is_relative_to(os.path.abspath(root)):
        pure = pure.relative_to(os.path.abspath(root))
    return pure.as_posix()


def _text(where: str, row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
        raise DataError(f"{where}: {column} is {value!r}; expected text or a whole number")
    return str(value)


def _csv(table: pathlib.Path) -> Iterator[Row]:
    text = _decode(table)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    line = 1
    try:
        header = _header(table, next(reader, []))
        line = reader.line_num + 1
        for cells in reader:
            where = f"{table}:{line}"
            if cells and len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} cells, expected {len(header)} ({', '.join(header)})"
                )
            if cells:
                yield where, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{table}:{line}: not a CSV row ({error})") from error


def _decode(table: pathlib.Path) -> str:
    data = table.read_bytes()
    if b"\0" in data:
        raise DataError(
            f"{table}:{_line_of(data, data.index(0))}: holds a NUL byte; expected plain UTF-8 text"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line_of(data, error.start)
        raise DataError(f"{table}:{line}: not UTF-8 ({error.reason}); save it as UTF-8") from error


def _line_of(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _header(table: pathlib.Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if "path" not in names:
        raise DataError(
            f"{table}:1: no column is called 'path'; found {', '.join(names) or 'nothing'}, "
            "expected path,label[,group,split,id]"
        )
    if doubled:
        raise DataError(f"{table}:1: the column {doubled[0]!r} stands there twice")
    return names


def _parquet(table: pathlib.Path) -> Iterator[Row]:
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"{table}: reading Parquet needs pyarrow: pip install pyarrow")
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            _header(table, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{table}:row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{table}: not a Parquet file ({error})") from error
