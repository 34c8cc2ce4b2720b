"""A table of images: CSV or Parquet with the columns path, label and, if wanted, group, split, id
and others.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import DataError, UsageError
from ...io.csv_rows import GZIP
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import Item, parse_geolocation
from ._query_share import hold_out

SPLITS = ("train", "query", "gallery")
COLUMNS = ("path", "label", "group", "split", "id")

Row = tuple[str, dict[str, Any]]


@DATASETS.register()
class Manifest:
    """Images listed in a table with a header: `path,label[,group,split,id,…]`; other columns go
    into `Item.meta`.

    Of those lat, lon (degrees), date (ISO 8601) and location_uncertainty (metres) are checked, see
    `structures.geolocation`; box, the shares "left top right bottom", is what SEEK.CROPS boxes()
    cuts.

    CSV may be separated by comma, semicolon or tab, with or without BOM, quotes and CRLF. White
    space around a label, group, split or id is no part of it. An empty split means "train". To
    train on an image and search in it too, list it twice with two splits.

    Args:
        path: the table, as it stands or below one of the data roots.
        root: the folder relative paths start from; the table's own when not given.
        columns: where the table calls them otherwise: our name of a column -> the table's, such as
            {"path": "image", "label": "cultivar"}.
        query: where no row has a split: the share (0..1) of every class held out as queries, the
            rest is trained on and searched in.

    Raises:
        ValueError: a column we do not know, a share outside 0..1, or `query` with a table that has
            splits.
        DataError: names file:line, what is wrong there and what was expected.

    Example: manifest('list.csv', query=0.2)
    """

    def __init__(
        self,
        path: str,
        root: str | None = None,
        columns: Mapping[str, str] | None = None,
        query: float | None = None,
    ) -> None:
        table = locate(path, "the list of images")
        self.root = str(table.parent if root is None else locate(root, "the images"))
        reader = _ItemReader(self.root, _name_columns(columns or {}))
        self.items = [reader.read(where, row) for where, row in _read_rows(table, reader.columns)]
        if not self.items:
            raise DataError(f"{table}: has no rows below its header")
        if query is not None:
            if reader.has_splits:
                raise ValueError(f"{table} has splits, so query= has no meaning")
            queries, rest = hold_out(self.items, query)
            gallery = [dataclasses.replace(item, split="gallery") for item in rest]
            self.items = [*rest, *queries, *gallery]


def has_splits(path: str) -> bool:
    """Whether a row of a table says which split it belongs to."""
    table = locate(path, "the list of images")
    return any(row.get("split") for _, row in _read_rows(table, {"path": "path"}))


def _name_columns(given: Mapping[str, str]) -> dict[str, str]:
    """Our name of every column -> the table's.

    Raises:
        ValueError: a name that is none of ours.
    """
    unknown = sorted(set(given) - set(COLUMNS))
    if unknown or not all(isinstance(name, str) for name in given.values()):
        raise ValueError(
            f"columns={dict(given)!r}: expected what the table calls {', '.join(COLUMNS)}, such as"
            " {'path': 'image', 'label': 'cultivar'}"
        )
    return {name: given.get(name, name) for name in COLUMNS}


class _ItemReader:
    """Rows to items.

    Args:
        root: the folder relative paths start from.
        columns: what we call a column -> what the table calls it.
    """

    def __init__(self, root: str, columns: dict[str, str]) -> None:
        self.root, self.columns = root, columns
        self.has_splits = False
        self._known = set(columns.values())
        self._seen: dict[tuple[str, str], str] = {}
        self._checked_backslash = False

    def read(self, where: str, row: dict[str, Any]) -> Item:
        """The item of one row.

        Raises:
            DataError: what is wrong there.
        """
        path = _text(where, row, self.columns["path"])
        self._check_path(where, path)
        label, group, split = (
            _text(where, row, self.columns[name]).strip() for name in ("label", "group", "split")
        )
        self.has_splits |= bool(split)
        split = split or "train"
        if split not in SPLITS:
            raise DataError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}")
        name = _text(where, row, self.columns["id"]).strip() or _id(path, self.root)
        before = self._seen.setdefault((split, name), where)
        if before != where:
            raise DataError(
                f"{where}: id {name!r} stands already in {before} with the same split; ids must"
                " differ"
            )
        meta = {column: value for column, value in row.items() if column not in self._known}
        parse_geolocation(meta, where)
        return Item(os.path.join(self.root, path), label, group, split, name, meta)

    def _check_path(self, where: str, path: str) -> None:
        if not path:
            raise DataError(f"{where}: the path is empty")
        # A file may have a backslash in its name; where the first does not exist, Windows wrote it.
        if "\\" in path and os.sep == "/" and not self._checked_backslash:
            self._checked_backslash = True
            if not os.path.exists(os.path.join(self.root, path)):
                raise DataError(
                    f"{where}: path {path!r} is one of Windows, where \\ divides folders: write /,"
                    " and leave out a drive such as C:"
                )


def _id(path: str, root: str) -> str:
    pure = pathlib.PurePath(path)
    if pure.is_absolute() and pure.is_relative_to(os.path.abspath(root)):
        # Relative, so that a folder that is moved keeps its ids.
        pure = pure.relative_to(os.path.abspath(root))
    return pure.as_posix()


def _text(where: str, row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    # A column that was read as numbers with gaps is one of floats: 1.0 would be no class of ours.
    if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
        raise DataError(f"{where}: {column} is {value!r}; expected text or a whole number")
    return str(value)


def _read_rows(table: pathlib.Path, columns: Mapping[str, str]) -> Iterator[Row]:
    parquet = table.suffix.lower() in (".parquet", ".pq")
    return _parquet(table, columns) if parquet else _csv(table, columns)


def _csv(table: pathlib.Path, columns: Mapping[str, str]) -> Iterator[Row]:
    text = _decode(table)
    # The header decides: cells may hold the other signs.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    line = 1
    try:
        header = _header(table, next(reader, []), columns)
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
    try:
        data = table.read_bytes()
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror})") from error
    if data.startswith(GZIP):
        raise DataError(f"{table}: is compressed: unpack it first (gunzip {table})")
    if b"\0" in data:
        raise DataError(
            f"{table}:{_line_of(data, data.index(0))}: holds a NUL byte; expected plain UTF-8 text"
        )
    try:
        # Spreadsheets begin a file with a byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line_of(data, error.start)
        raise DataError(f"{table}:{line}: not UTF-8 ({error.reason}); save it as UTF-8") from error


def _line_of(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _header(table: pathlib.Path, cells: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    """The names of the columns.

    Raises:
        DataError: that of the paths, or one that was named, is missing, or one stands there twice.
    """
    names = [cell.strip() for cell in cells]
    doubled = sorted({name for name in names if names.count(name) > 1})
    found = ", ".join(names) or "nothing"
    if columns["path"] == "path" and "path" not in names:
        raise DataError(
            f"{table}:1: no column is called 'path'; found {found}, expected"
            " path,label[,group,split,id]; a recipe may name others: manifest('list.csv',"
            " columns={'path': 'image', 'label': 'class'})"
        )
    missing = [name for ours, name in columns.items() if name != ours and name not in names]
    if missing:
        raise DataError(f"{table}:1: no column is called {missing[0]!r}; found {found}")
    if doubled:
        raise DataError(f"{table}:1: the column {doubled[0]!r} stands there twice")
    return names


def _parquet(table: pathlib.Path, columns: Mapping[str, str]) -> Iterator[Row]:
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"{table}: reading Parquet needs pyarrow: pip install pyarrow")
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            _header(table, file.schema_arrow.names, columns)
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{table}:row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{table}: not a Parquet file ({error})") from error
