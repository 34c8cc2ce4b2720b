"""Tables of a header and rows, CSV or Parquet, read block by block as columns."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from ...errors import DataError, refuse_exhausted
from ...io.csv_rows import GZIP
from ...io.locations import open_location, open_parquet

ROWS = 16384  # of a block
# Columns of a table that holds its images: the number of a row, and what its image was called.
ROW, PATH_INSIDE = "\0row", "\0path"
IMAGE = "image"
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


def read_blocks(table: str, columns: Mapping[str, str]) -> Iterator[Block]:
    """Yield the rows below the header.

    Args:
        table: a file or an address, named .parquet or .pq, or of CSV.
        columns: what we call a column -> what the table calls it.

    Raises:
        DataError: it cannot be read; names file and row. UsageError: a package is missing.
    """
    return _parquet(table, columns) if is_parquet(table) else _csv(table, columns)


def is_parquet(table: str) -> bool:
    """Whether a table is one of Parquet, by its name."""
    return table.lower().endswith(PARQUET)


def _csv(table: str, columns: Mapping[str, str]) -> Iterator[Block]:
    try:
        with open_location(table) as file:
            if file.read(len(GZIP)) == GZIP:
                raise DataError(f"{table}: is compressed: unpack it first (gunzip {table})")
        with _open_text(table) as text:
            yield from _csv_blocks(table, text, columns)
    except OSError as error:
        refuse_exhausted(error, table)
        raise DataError(f"{table}: cannot be read ({error.strerror or error})") from error


def _open_text(table: str, errors: str = "strict") -> IO[str]:
    # Spreadsheets begin a file with a byte order mark.
    return io.TextIOWrapper(open_location(table), encoding="utf-8-sig", errors=errors, newline="")


def _csv_blocks(table: str, text: IO[str], columns: Mapping[str, str]) -> Iterator[Block]:
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


def _name_row(table: str, start: int, row: int = 0) -> str:
    """File and line of row `start` + `row` below the header, blank ones not counted."""
    line, number = 1, start + row
    with _open_text(table, errors="replace") as text:
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


def _number_row(table: str, start: int, row: int) -> str:
    return f"{table}:row {start + row + 1}"


def _refuse_zero(table: str, texts: Iterable[Sequence[str]]) -> None:
    if any("\0" in "".join(cells) for cells in texts):
        with open_location(table) as file:
            line = next(number for number, line in enumerate(file, 1) if b"\0" in line)
        raise DataError(f"{table}:{line}: holds a NUL byte; expected plain UTF-8 text")


def _not_utf8(table: str, error: UnicodeDecodeError) -> DataError:
    line = 0
    with open_location(table) as file, contextlib.suppress(UnicodeDecodeError):
        for content in file:
            line += 1
            content.decode("utf-8")
    return DataError(f"{table}:{line}: not UTF-8 ({error.reason}); save it as UTF-8")


class ImageColumn(NamedTuple):
    """A column of Parquet whose cells are image files.

    Args:
        name: the table's.
        inside: where the bytes are, "image" or "image.bytes".
        path: where the file's name is, "image.path"; "" where it is not told.
    """

    name: str
    inside: str
    path: str


def image_column(table: str, columns: Mapping[str, str]) -> ImageColumn | None:
    """The column that holds the images of a table; None where it names files.

    It is the one that `columns` calls image or path, or the one called so, where it is of bytes or,
    as Hugging Face writes them, of bytes and path.

    Raises:
        DataError: no Parquet file, or the column of the images holds none. UsageError: pyarrow is
            missing.
    """
    found = _find_images(table, columns) if is_parquet(table) else None
    if found is None and IMAGE in columns:
        raise DataError(
            f"{table}: column {columns[IMAGE]!r} holds no images: expected one of bytes in a Parquet"
            " file; one that names files is called path: columns={'path': …}"
        )
    return found


def _find_images(table: str, columns: Mapping[str, str]) -> ImageColumn | None:
    with open_parquet(table) as file:
        schema = file.schema_arrow
    import pyarrow  # it is there: a file was opened

    for ours in (IMAGE, "path"):
        name = columns.get(ours, ours)
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
            return ImageColumn(name, name, "")
        if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            told = kind.get_field_index("path") >= 0
            return ImageColumn(name, f"{name}.bytes", f"{name}.path" if told else "")
    return None


def check_header(table: str, cells: Sequence[str], columns: Mapping[str, str]) -> list[str]:
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


def _parquet(table: str, columns: Mapping[str, str]) -> Iterator[Block]:
    held = image_column(table, columns)
    import pyarrow

    try:
        with open_parquet(table) as file:
            names = file.schema_arrow.names
            told = columns["path"] in names or columns["path"] != "path"
            path = columns["path"] if held is None or told else held.name
            check_header(table, names, {**columns, "path": path})
            # Of a column that holds images no more is read than what they are called.
            wanted = [name for name in names if held is None or name != held.name]
            if held is not None and held.path:
                wanted.append(held.path)
            done = 0
            for batch in file.iter_batches(ROWS, columns=wanted, use_threads=False):
                cells = {name: batch.column(name).to_pylist() for name in batch.schema.names}
                if held is not None:
                    paths = cells.pop(held.name, [{}] * len(batch))
                    cells[PATH_INSIDE] = [(one or {}).get("path") or "" for one in paths]
                    cells[ROW] = range(done, done + len(batch))
                yield Block(cells, functools.partial(_number_row, table, done))
                done += len(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{table}: not a Parquet file ({error})") from error
