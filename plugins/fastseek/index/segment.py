"""Segments: rows of an index that never change, sorted by id, as files of their own."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from ..errors import ArtefactError, refuse_exhausted
from ..io.atomic import atomic
from ..knn.nearest import encode_float32
from ..knn.scan import Codes
from ..structures import Embeddings
from ..structures.archive import Provenance
from ..structures.arrays import BoolArray, IntArray, Picked, Rows, StringArray, VectorArray
from ._ast_lock import AST_LOCK
from .columns import Columns
from .manifest import FileEntry, SegmentEntry, check_file, describe_file
from .names import BytesArray, decode_names, find_names

ROWS = 16384  # vectors written at once


class LazyNames:
    """Ids that are decoded where they are asked for."""

    def __init__(self, keys: BytesArray, rows: IntArray | None = None) -> None:
        self.keys, self.rows = keys, rows

    def __len__(self) -> int:
        return len(self.keys) if self.rows is None else len(self.rows)

    def __getitem__(self, rows: Rows) -> StringArray:
        wanted = rows if self.rows is None else self.rows[rows]
        return decode_names(np.atleast_1d(self.keys[wanted]))


class StoredEmbeddings(Embeddings):
    """Embeddings of an index: what a noun checks was checked when they were written."""

    def __post_init__(self) -> None:
        """Check nothing, so that no id is read."""


def make_embeddings(ids: Any, vectors: VectorArray, provenance: Provenance) -> Embeddings:
    """Embeddings that are not checked again."""
    return StoredEmbeddings(ids, vectors, provenance)


class Segment:
    """One segment, its files open: they may be removed meanwhile, and it can still be read.

    Args:
        line: the folder.
        entry: what the manifest tells of it.

    Raises:
        ArtefactError: a file is gone, or is not the one that was written.
    """

    def __init__(self, line: pathlib.Path, entry: SegmentEntry) -> None:
        self.entry = entry
        for file in entry.files.values():
            check_file(line, file)
        self.keys: BytesArray = _map(line / entry.files["ids"].name)
        self.vectors: np.ndarray = _map(line / entry.files["vectors"].name)
        self.alive: BoolArray | None = None
        if "dead" in entry.files:
            self.alive = np.ones(entry.rows, bool)
            self.alive[_read(line / entry.files["dead"].name)] = False
        self._columns: Any = None
        if "columns" in entry.files:
            self._columns = _open_archive(line / entry.files["columns"].name)
        lengths = {len(self.keys), len(self.vectors), entry.rows}
        if len(lengths) > 1 or self.keys.dtype.kind != "S" or self.vectors.ndim != 2:
            raise ArtefactError(f"{line}: segment {entry.number} is not what its manifest tells")
        self._codes: Codes | None = None

    def __len__(self) -> int:
        """How many of its images are there."""
        return self.entry.rows - self.entry.dead

    @property
    def live(self) -> IntArray:
        """The rows that are not deleted."""
        return np.arange(self.entry.rows) if self.alive is None else np.flatnonzero(self.alive)

    def find(self, keys: BytesArray) -> IntArray:
        """The row of every key, -1 where it is not there, or deleted."""
        rows = find_names(keys, self.keys)
        if self.alive is None:
            return rows
        return np.where((rows >= 0) & self.alive[rows], rows, -1)

    def column_names(self) -> list[str]:
        """The columns it has."""
        return [] if self._columns is None else [str(name) for name in self._columns.files]

    def column(self, name: str) -> np.ndarray | None:
        """A stored column of all rows, None where it has none; "id" is one."""
        if name == "id":
            return self.keys
        if name not in self.column_names():
            return None
        with AST_LOCK:
            stored: np.ndarray = self._columns[name]
        return stored

    def pick(self, rows: IntArray | None = None) -> Embeddings:
        """Some rows, in their order, as embeddings whose ids are decoded late; None for the live
        ones.
        """
        if rows is None and self.alive is None:
            return make_embeddings(LazyNames(self.keys), self.vectors, {})
        chosen = self.live if rows is None else rows
        return make_embeddings(LazyNames(self.keys, chosen), Picked(self.vectors, chosen), {})

    def codes(self, metric: str) -> Codes:
        """The live vectors in memory, as they are compared; made once."""
        if self._codes is None:
            self._codes = encode_float32(self.pick(), metric)
        return self._codes


def write_segment(
    line: pathlib.Path,
    number: int,
    keys: BytesArray,
    vectors: VectorArray,
    columns: Columns,
    dtype: str,
) -> SegmentEntry:
    """Write the files of a segment.

    Args:
        line: the folder.
        number: of the segment; no file has it yet.
        keys: [N] ids, sorted.
        vectors: [N, D] in that order, read a block at a time.
        columns: stored columns in that order.
        dtype: "float32" or "float16".
    """
    files = {
        "ids": save_array(line / f"{number:08d}.ids.npy", keys),
        "vectors": _save_blocks(line / f"{number:08d}.vectors.npy", vectors, dtype),
    }
    if columns:
        path = line / f"{number:08d}.columns.npz"
        with atomic(path) as out:
            _save_columns(out, columns)
        files["columns"] = describe_file(path)
    return SegmentEntry(number, len(keys), 0, files)


def write_dead(
    line: pathlib.Path, number: int, segment: Segment, rows: IntArray
) -> SegmentEntry | None:
    """Note more rows of a segment as deleted; returns its entry, None when none is left.

    Args:
        line: the folder.
        number: of the file; no file has it yet.
        segment: as it is.
        rows: that are there.
    """
    alive = np.ones(segment.entry.rows, bool) if segment.alive is None else segment.alive.copy()
    alive[rows] = False
    dead = np.flatnonzero(~alive)
    if len(dead) == segment.entry.rows:
        return None
    file = save_array(line / f"{number:08d}.dead.npy", dead)
    entry = segment.entry
    return SegmentEntry(entry.number, entry.rows, len(dead), {**entry.files, "dead": file})


def save_array(path: pathlib.Path, array: np.ndarray) -> FileEntry:
    """Write an .npy file, whole or not at all."""
    with atomic(path) as out:
        np.save(out, array, allow_pickle=False)
    return describe_file(path)


def read_blocks(vectors: VectorArray, rows: int = ROWS) -> Iterator[np.ndarray]:
    """The vectors, a block at a time."""
    for start in range(0, len(vectors), rows):
        yield np.asarray(vectors[start : start + rows])


def _save_blocks(path: pathlib.Path, vectors: VectorArray, dtype: str) -> FileEntry:
    kind = np.dtype(dtype)
    header = {
        "descr": np.lib.format.dtype_to_descr(kind),
        "fortran_order": False,
        "shape": (len(vectors), vectors.shape[1]),
    }
    with atomic(path) as out:
        np.lib.format.write_array_header_1_0(out, header)
        for block in read_blocks(vectors):
            out.write(np.ascontiguousarray(block, kind).data)
    return describe_file(path)


def _save_columns(out: IO[bytes], columns: Columns) -> None:
    # A column may be called as an argument of np.savez is.
    import zipfile

    with zipfile.ZipFile(out, "w") as archive:
        for name, column in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, column, allow_pickle=False)


def _map(path: pathlib.Path) -> Any:
    try:
        with AST_LOCK:
            return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ArtefactError(f"{path}: not a whole .npy file ({error})") from error
    except OSError as error:
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: cannot be read ({error.strerror})") from error


def _read(path: pathlib.Path) -> np.ndarray:
    return np.array(_map(path))


def _open_archive(path: pathlib.Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # a flipped byte can make zipfile and numpy raise nearly anything
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: not a whole .npz file ({error})") from error
