"""Tables of a header and rows, CSV or Parquet, read block by block as columns."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import importlib.util
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from ...errors import DataError, UsageError, refuse_exhausted
from ...io.csv_rows import GZIP

ROWS = 16384  # of a block
PARQUET = (".parquet", ".pq")


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows of a table, column by column.

    Args:
        columns: name -> the cells of the rows; texts in CSV.
        where: number of a row in the block -> what a message calls it.
    """

    columns: Mapping[str, Sequence[Any]]
    where: Callable[[int], str]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read_blocks(table: pathlib.Path, columns: Mapping[str, str]) -> Iterator[Block]:
    """Yield the rows below the header.

    Args:
        table: a file named .parquet or .pq, or one of CSV.
        columns: what we call a column -> what the table calls it.

    Raises:
        DataError: it cannot be read; names file and row. UsageError: a package is missing.
    """
    parquet = table.suffix.lower() in PARQUET
    return _parquet(table, columns) if parquet else _csv(table, columns)


def _csv(table: pathlib.Path, columns: Mapping[str, str]) -> Iterator[Block]:
    try:
        with open(table, "rb") as file:
            if file.read(len(GZIP)) == GZIP:
                raise DataError(f"{table}: is compressed: unpack it first (gunzip {table})")
        # Spreadsheets begin a file with a byte order mark.
        with open(table, encoding="utf-8-sig", newline="") as text:
            yield from _csv_blocks(table, text, columns)
    except OSError as error:
        refuse_exhausted(error, table)
        raise DataError(f"{table}: cannot be read ({error.strerror})") from error


def _csv_blocks(table: pathlib.Path, text: IO[str], columns: Mapping[str, str]) -> Iterator[Block]:
    try:
        first = text.readline()
    except UnicodeDecodeError as error:
        raise _not_utf8(table, error) from error
    reader = _open_rows(first, text)
    header: list[str] = []
    done = 0
    while True:
        rows, fault = _next_rows(reader)
        ended = not rows
        if not header and (rows or fault is None):
            header = check_header(table, rows[0] if rows else [], columns)
            rows = rows[1:]
        rows = [cells for cells in rows if cells]
        short = len(rows)
        if not set(map(len, rows)) <= {len(header)}:
            short = next(row for row, cells in enumerate(rows) if len(cells) != len(header))
        if short:
            columns_of = list(zip(*rows[:short], strict=True))
            _refuse_zero(table, [header, *columns_of])
            where = functools.partial(_name_row, table, done)
            yield Block(dict(zip(header, columns_of, strict=True)), where)
        done += short
        if short < len(rows):
            raise DataError(
                f"{_name_row(table, done)}: {len(rows[short])} cells, expected {len(header)}"
                f" ({', '.join(header)})"
            )
        if isinstance(fault, UnicodeDecodeError):
            raise _not_utf8(table, fault) from fault
        if fault is not None:
            raise DataError(f"{_name_row(table, done)}: not a CSV row ({fault})") from fault
        if ended:
            return


def _open_rows(first: str, rest: Iterable[str]) -> Any:
    # The header decides what divides the cells, which may hold the other signs.
    delimiter = max(",;\t", key=first.count)
    lines = itertools.chain([first] if first else [], rest)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def _next_rows(reader: Iterator[list[str]]) -> tuple[list[list[str]], Exception | None]:
    """The next rows, and what ended them; what came before a fault is kept."""
    rows: list[list[str]] = []
    try:
        rows.extend(itertools.islice(reader, ROWS))
    except (csv.Error, UnicodeDecodeError) as error:
        return rows, error
    return rows, None


def _name_row(table: pathlib.Path, start: int, row: int = 0) -> str:
    """File and line of row `start` + `row` below the header, blank ones not counted."""
    line, number = 1, start + row
    with open(table, encoding="utf-8-sig", newline="", errors="replace") as text:
        reader = _open_rows(text.readline(), text)
        # The row that is no CSV ends this, too: it is the one that is asked for.
        with contextlib.suppress(csv.Error):
            next(reader, None)
            line = reader.line_num + 1
            for cells in reader:
                if cells and number == 0:
                    break
                number -= bool(cells)
                line = reader.line_num + 1
    return f"{table}:{line}"


def _number_row(table: pathlib.Path, start: int, row: int) -> str:
    return f"{table}:row {start + row + 1}"


def _refuse_zero(table: pathlib.Path, texts: Iterable[Sequence[str]]) -> None:
    if any("\0" in "".join(cells) for cells in texts):
        with open(table, "rb") as file:
            line = next(number for number, line in enumerate(file, 1) if b"\0" in line)
        raise DataError(f"{table}:{line}: holds a NUL byte; expected plain UTF-8 text")


def _not_utf8(table: pathlib.Path, error: UnicodeDecodeError) -> DataError:
    line = 0
    with open(table, "rb") as file, contextlib.suppress(UnicodeDecodeError):
        for content in file:
            line += 1
            content.decode("utf-8")
    return DataError(f"{table}:{line}: not UTF-8 ({error.reason}); save it as UTF-8")


def check_header(
    table: pathlib.Path, cells: Sequence[str], columns: Mapping[str, str]
) -> list[str]:
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


def _parquet(table: pathlib.Path, columns: Mapping[str, str]) -> Iterator[Block]:
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"{table}: reading Parquet needs pyarrow: pip install pyarrow")
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            check_header(table, file.schema_arrow.names, columns)
            done = 0
            for batch in file.iter_batches(ROWS):
                cells = {name: batch.column(name).to_pylist() for name in batch.schema.names}
                yield Block(cells, functools.partial(_number_row, table, done))
                done += len(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{table}: not a Parquet file ({error})") from error
