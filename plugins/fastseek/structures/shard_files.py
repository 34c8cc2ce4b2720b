"""Vectors of a shard on disk: mapped when they are read, a few files at a time, and compared with
their hash once.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import io
import math
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError, DataError, refuse_exhausted
from .archive import check_open
from .arrays import Lazy, Rows
from .known_digests import Signature, check_digest

MOST_OPEN = 64  # maps that are kept: each takes a file descriptor
SHARE_OPEN = 8  # of the descriptors a process may have, one in eight at most
START = 4096  # bytes in which the header of a shard stands
MAGIC = b"\x93NUMPY"

_maps: collections.OrderedDict[tuple[str, str], np.ndarray] = collections.OrderedDict()
_lock = threading.Lock()


class Promise(NamedTuple):
    """What is known of a shard before its file is opened."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    size: int  # bytes of the file


class MappedShard(Lazy):
    """The vectors of one shard, float [n, D]; opening it reads no more than the header.

    A process keeps the maps of the files that were read last, however many shards a folder has:
    the system allows 1,024 descriptors, and an embeddings folder may have 50,000 shards.

    Args:
        path: the .npy file.
        digest: the SHA-256 it was written with; compared at the first read.
        promise: what the file holds, so that not even the header is read now.

    Raises:
        ArtefactError: it is not there, not whole, or no vectors. DataError: it cannot be opened.
        RunError: the process has too many files open.
    """

    def __init__(self, path: str, digest: str, promise: Promise | None = None) -> None:
        self.path, self.digest = path, digest
        self._verified: Signature | None = None
        if promise is None:
            header = read_header(path)
            if len(header.shape) != 2 or header.dtype.kind != "f":
                raise ArtefactError(
                    f"{path}: {header.dtype} {header.shape} are no vectors: make it anew"
                )
            promise = Promise((header.shape[0], header.shape[1]), header.dtype, 0)
        else:
            _check_size(path, promise.size)
        self.shape, self.dtype = promise.shape, promise.dtype

    def __getitem__(self, rows: Rows) -> np.ndarray:
        """Rows by slice, by index array or by number; a view, to be copied at once.

        Raises:
            ArtefactError: the bytes are not those that were written, or the file is gone.
        """
        return np.asarray(self._map()[rows])

    def _map(self) -> np.ndarray:
        key = self.path, self.digest
        # Also where another one of the same file has mapped it: it may have changed since.
        if self._verified is None:
            self._verified = check_digest(self.path, self.digest)
        with _lock:
            if key in _maps:
                _maps.move_to_end(key)
                return _maps[key]
        self._verified = check_digest(self.path, self.digest, self._verified)
        made = self._open()
        with _lock:
            _maps[key] = made
            while len(_maps) > _most_open():
                _maps.popitem(last=False)
        return made

    def _open(self) -> np.ndarray:
        header = read_header(self.path)
        if header.shape != self.shape or header.dtype != self.dtype:
            raise ArtefactError(
                f"{self.path}: {header.dtype} {header.shape}, the manifest says {self.dtype}"
                f" {self.shape}: make it anew"
            )
        if not len(self):  # nothing can be mapped
            return np.empty(header.shape, header.dtype)
        try:
            return np.memmap(
                self.path,
                header.dtype,
                "r",
                header.start,
                header.shape,
                "F" if header.by_column else "C",
            )
        except (OSError, ValueError) as error:
            refuse_exhausted(error, self.path)
            raise ArtefactError(f"{self.path}: not a whole .npy file ({error})") from error


def _check_size(path: str, wanted: int) -> None:
    with _describe(path):
        size = os.stat(path).st_size
    if size != wanted:
        raise ArtefactError(f"{path}: {size} bytes, the manifest says {wanted}")


class Header(NamedTuple):
    """What an .npy file tells of its array: shape, type, whether the columns stand one after the
    other, and the byte its numbers begin at.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_column: bool
    start: int


def read_header(path: str) -> Header:
    """The header of an .npy file, which is closed again.

    Raises:
        ArtefactError: it is not there, no .npy file, or was cut.
        RunError: the process has too many files open.
    """
    with _describe(path), open(path, "rb") as file:
        return _check_length(_parse(file.read(START)), os.fstat(file.fileno()).st_size)


def read_checked(path: str, digest: str) -> np.ndarray:
    """The array of an .npy file in memory, its bytes compared with their hash.

    Raises:
        ArtefactError: it is not there, not whole, or its bytes are not those that were written.
        RunError: the process has too many files open.
    """
    with _describe(path):
        with open(path, "rb") as file:
            content = file.read()
        header = _check_length(_parse(content), len(content))
        flat = np.frombuffer(content, header.dtype, int(np.prod(header.shape)), header.start)
        made = flat.reshape(header.shape, order="F" if header.by_column else "C")
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtefactError(f"{path}: the bytes are not those that were written")
    return made


@contextlib.contextmanager
def _describe(path: str) -> Iterator[None]:
    """Say in one way what is wrong with a file of a shard."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArtefactError(f"{path}: is in the manifest and not on disk") from error
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except MemoryError:
        raise
    except Exception as error:  # a flipped byte can make numpy raise nearly anything
        raise ArtefactError(f"{path}: not a whole .npy file ({error})") from error


def _parse(content: bytes) -> Header:
    """The header at the start of a file's bytes."""
    major = content[6] if content.startswith(MAGIC) and len(content) > 12 else 0
    width = {1: 2, 2: 4}.get(major)
    if width is None:
        raise ValueError(f"it begins with {content[:8]!r}")
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    return _parse_once(content[:start], major)


# Most shards of a folder have the very same header, and to parse one takes as long as to open it.
@functools.lru_cache(maxsize=4096)
def _parse_once(header: bytes, major: int) -> Header:
    read = {
        1: np.lib.format.read_array_header_1_0,
        2: np.lib.format.read_array_header_2_0,
    }[major]
    shape, by_column, dtype = read(io.BytesIO(header[8:]))
    if dtype.hasobject:
        raise ValueError("it holds objects")
    return Header(shape, dtype, by_column, len(header))


def _check_length(header: Header, held: int) -> Header:
    wanted = header.start + header.dtype.itemsize * math.prod(header.shape)
    if held < wanted:
        raise ValueError(f"{held} bytes of {wanted}")
    return header


def map_array(path: pathlib.Path) -> np.ndarray:
    """An .npy file as a memory map.

    Raises:
        DataError: it cannot be opened. ArtefactError: it is damaged.
        RunError: the process has too many files open.
    """
    check_open(path)
    read_header(os.fspath(path))  # of an archive that was cut numpy would leave the file open
    try:
        loaded: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return loaded
    except MemoryError:
        raise
    except Exception as error:  # a flipped byte can make numpy raise nearly anything
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: not a whole .npy file ({error})") from error


def _most_open() -> int:
    try:
        import resource
    except ImportError:  # Windows, whose maps keep no descriptor
        return MOST_OPEN
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MOST_OPEN
    return max(1, min(MOST_OPEN, soft // SHARE_OPEN))


def shards_under(vectors: Any) -> Iterator[str]:
    """The shards that some vectors are read from when they are asked for."""
    if isinstance(vectors, MappedShard):
        yield vectors.path
    for part in getattr(vectors, "parts", [getattr(vectors, "whole", None)]):
        if part is not None:
            yield from shards_under(part)
