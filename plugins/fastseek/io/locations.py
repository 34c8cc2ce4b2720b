"""Where the bytes of an image lie: in a file, in a tar file, in a cell of a Parquet file, or at a URL.
A part of an image (see `crop_locations`) has the bytes of the whole.

A location is one text, so that it goes to any process and is read there without anything opened
before:

    /images/cats/1.jpg                          a file
    s3://bucket/cats/1.jpg                      what fsspec reads: s3, gs, http, memory …
    tar:///shards/0.tar!/1536+20480/cats/1.jpg  bytes of a tar file; the name is for people
    parquet:///list.parquet!image/17/1.jpg      a row of a column; so is this one
"""

from __future__ import annotations

import collections
import hashlib
import os
import re
import threading
import time
import urllib.parse
from typing import IO, Any

import numpy as np

from ..errors import NO_ROOM, DataError, FastSeekError, RunError, UsageError, hide_secrets
from .crop_locations import CROP, parse_crop, whole_image
from .digests import sha256
from .paths import PathLike, locate

TAR, PARQUET = "tar", "parquet"
TRIES, PAUSE = 4, 0.5  # of a request that fails, and seconds before the second one
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
GROUPS = 2  # row groups that are kept whatever their size: a batch may end in the next one
GROUP_BYTES = 128 << 20  # of row groups that a process keeps, so that a shuffled read finds them

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Folders may end in "!", and so may those in the name for people: the suffix tells where a file ends.
_FLAGS = re.DOTALL | re.IGNORECASE
_MEMBER = re.compile(r"tar://(.+?\.tar|.+?)!/(\d+)\+(\d+)(?:/.*)?", _FLAGS)
_CELL = re.compile(r"parquet://(.+?\.(?:parquet|pq)|.+?)!([^/]*)/(\d+)(?:/.*)?", _FLAGS)
_DENIED = (401, 403)
WEB = ("http://", "https://")


def is_file(location: str) -> bool:
    """Whether a location is a path of this machine's file system."""
    return "://" not in location or _URL.match(location) is None


def is_url(location: str) -> bool:
    """Whether a location is an address, of nothing inside a tar or Parquet file."""
    inside = (f"{TAR}://", f"{PARQUET}://", f"{CROP}://")
    return not is_file(location) and not location.startswith(inside)


def is_remote(location: str) -> bool:
    """Whether the bytes at a location come from another machine, or may do so."""
    for scheme in (CROP, TAR, PARQUET):
        location = location.removeprefix(f"{scheme}://")
    return not is_file(location)


def absolute(location: PathLike) -> str:
    """A path from the root of the file system; any other location as it is."""
    text = os.fspath(location)
    return os.path.abspath(text) if is_file(text) else text


def join_location(base: str, name: str) -> str:
    """Something below a folder or an address."""
    return os.path.join(base, name) if is_file(base) else f"{base.rstrip('/')}/{name}"


def leads_out(name: str) -> bool:
    """Whether a name is none below a folder: it begins at the root, or goes up."""
    return name.startswith("/") or ".." in name.split("/")


def parent(location: str) -> str:
    """The folder of a file, or the address above it."""
    if is_file(location):
        return os.path.dirname(location) or os.curdir
    return location.rpartition("/")[0]


def find_location(name: PathLike, purpose: str) -> str:
    """A file or folder as `locate` finds it, or an address as it is; file:///x is /x.

    Raises:
        DataError: found nowhere, or in two places. UsageError: as `check_url`.
    """
    text = os.fspath(name)
    if text.startswith("file://"):
        text = urllib.parse.unquote(text.removeprefix("file://"))
    return check_url(text) if is_url(text) else str(locate(text, purpose))


def check_url(url: str) -> str:
    """An address that can be read here, as it is.

    Raises:
        UsageError: fsspec does not know it, it tells a password, or a package is missing.
    """
    shown = hide_secrets(url)
    if "::" in url:
        raise UsageError(f"{shown}: chains of file systems (::) are not read: name one address")
    if _tells_password(url):
        raise UsageError(
            f"{shown}: a password in an address would be written into what is made: give it to the"
            " environment or the settings of the file system"
        )
    file_system(url)
    return url


def tar_root(file: str) -> str:
    """What the members of a tar file lie below, as `member` names them."""
    return f"{TAR}://{file}!"


def member(start: int, size: int) -> str:
    """The bytes of a tar file, below its root."""
    return f"{start}+{size}"


def parquet_root(file: str, column: str) -> str:
    """What the rows of a column lie below, a number each."""
    return f"{PARQUET}://{file}!{urllib.parse.quote(column, safe='')}"


def read_bytes(location: str, most: int) -> bytes:
    """The first bytes of what lies at a location, `most` at most.

    Raises:
        FileNotFoundError, PermissionError: it is not there, or may not be read.
        RunError: it cannot be reached. UsageError: a package is missing.
    """
    location = whole_image(location)
    if location.startswith(f"{TAR}://"):
        found = _MEMBER.fullmatch(location)
        if found is None:
            raise FileNotFoundError(f"{location} names no bytes of a tar file")
        return read_part(found[1], int(found[2]), min(int(found[3]), most))
    if location.startswith(f"{PARQUET}://"):
        found = _CELL.fullmatch(location)
        if found is None:
            raise FileNotFoundError(f"{location} names no row of a Parquet file")
        return _CELLS.read(found[1], urllib.parse.unquote(found[2]), int(found[3]))[:most]
    return read_part(location, 0, most)


def read_part(location: str, start: int, size: int) -> bytes:
    """Some bytes of a file or an address; less where it ends before.

    Raises:
        as `read_bytes`.
    """
    if is_file(location):
        with open(location, "rb") as file:
            file.seek(start)
            return file.read(size)

    def ask() -> bytes:
        system, path = file_system(location)
        found = bytes(system.cat_file(path, start=start, end=start + size))
        # A web server that knows no parts sends the whole.
        return found[start:][:size] if len(found) > size else found

    return bytes(retry(location, ask))


def open_location(location: str) -> IO[bytes]:
    """A file or an address, opened for reading.

    Raises:
        as `read_bytes`.
    """
    if is_file(location):
        return open(location, "rb")

    def ask() -> Any:
        system, path = file_system(location)
        return system.open(path, "rb")

    opened: IO[bytes] = retry(location, ask)
    return opened


def list_below(url: str) -> list[str]:
    """All files below an address, relative to it, sorted.

    Raises:
        DataError: nothing is there, or nobody can list it. RunError: it cannot be reached.
    """
    if url.startswith(WEB):
        raise DataError(
            f"{hide_secrets(url)}: a web server lists no folder: name a table (.csv, .parquet) or a"
            " .tar there"
        )

    def ask() -> list[str]:
        system, path = file_system(url)
        base = path.rstrip("/") + "/"
        return sorted(name[len(base) :] for name in system.find(path) if name.startswith(base))

    try:
        found: list[str] = retry(url, ask)
    except FileNotFoundError:
        found = []
    if not found:
        raise DataError(f"{hide_secrets(url)}: nothing is there, or it may not be listed")
    return found


def file_around(location: str) -> tuple[str, str, int] | None:
    """The tar or Parquet file of a location, where in it the image stands, and its bytes, -1 where
    they are not told; None for a location that is a file or an address itself.
    """
    location = whole_image(location)
    found = _MEMBER.fullmatch(location) or _CELL.fullmatch(location)
    if found is None:
        return None
    size = int(found[3]) if found.re is _MEMBER else -1
    return found[1], f"{found[2]} {found[3]}", size


def sha256_of(location: str, most: int) -> str:
    """SHA-256 of the bytes at a location, as hexadecimal; of a file all, else of `most` at most. Of a
    part of an image it tells the box, too.

    Raises:
        as `read_bytes`.
    """
    crop = parse_crop(location)
    if crop is not None:
        return hashlib.sha256(f"{sha256_of(crop.file, most)} {crop.box}".encode()).hexdigest()
    if is_file(location):
        return sha256(location)
    return hashlib.sha256(read_bytes(location, most)).hexdigest()


def file_system(url: str) -> tuple[Any, str]:
    """Fsspec's file system of an address, and the path there.

    Raises:
        UsageError: it knows no such address, or a package is missing.
    """
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(
            f"{hide_secrets(url)}: reading addresses needs fsspec: pip install 'fastseek[remote]'"
        ) from error
    protocol = url.partition("://")[0].lower()
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(protocol, "aiohttp" if protocol.startswith("http") else str(error))
        raise UsageError(
            f"{hide_secrets(url)}: reading {protocol}:// needs {package}: pip install"
            f" 'fastseek[remote]' {package}"
        ) from error
    except ValueError as error:
        raise UsageError(f"{hide_secrets(url)}: {error}; known are file, http(s), s3 …") from error
    return system, path


def retry(location: str, ask: Any) -> Any:
    """What a request gives; one that fails is asked again.

    A file that is not there is told at once: asking again would not bring it.

    Raises:
        FileNotFoundError, PermissionError: as the request. RunError: it failed `TRIES` times.
    """
    for number in range(TRIES):
        try:
            return ask()
        except (FileNotFoundError, PermissionError, FastSeekError):
            raise
        except Exception as error:  # each file system has its own
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise  # of this machine's disk
            if getattr(error, "status", None) in _DENIED:
                raise PermissionError(13, "may not be read", location) from error
            if number + 1 == TRIES:
                raise RunError(
                    f"{hide_secrets(location)}: cannot be read"
                    f" ({type(error).__name__}: {hide_secrets(str(error))}), tried {TRIES} times: is"
                    " the network there? The same command goes on"
                ) from error
            time.sleep(PAUSE * 2**number)
    raise AssertionError("a last try gives something or raises")


def _tells_password(url: str) -> bool:
    """Whether a password stands in an address, or a user's key of a web server."""
    return re.search(r"://[^/@:]*:[^/@]*@|(?i:^https?://)[^/@]*@", url) is not None


class _Cells:
    """Cells of Parquet files that hold images. The row groups read last are kept, as neighbors are
    asked for one after the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, tuple[tuple[int, int] | None, Any, np.ndarray]] = {}
        self._groups: collections.OrderedDict[tuple[str, str, int], Any] = collections.OrderedDict()

    def read(self, file: str, column: str, row: int) -> bytes:
        """The bytes of a cell, none where it is empty."""
        with self._lock:  # its readers are not made for several threads
            parquet, starts = self._open(file)
            number = int(np.searchsorted(starts, row, side="right")) - 1
            if not 0 <= row < starts[-1]:
                raise FileNotFoundError(f"{file} has no row {row}")
            cells = self._group(parquet, (file, column, number))
        cell = cells[row - int(starts[number])]
        return cell.as_py() or b"" if cell.is_valid else b""

    def _open(self, file: str) -> tuple[Any, np.ndarray]:
        """The file, and the number of the first row of every group and of none."""
        state = _stamp(file) if is_file(file) else None  # a request for every image else
        known = self._files.get(file)
        if known is not None and known[0] == state:
            return known[1], known[2]
        for key in [key for key in self._groups if key[0] == file]:
            del self._groups[key]
        if len(self._files) >= 16:
            self._files.clear()
        parquet = open_parquet(file)
        counts = [parquet.metadata.row_group(one).num_rows for one in range(parquet.num_row_groups)]
        starts = np.cumsum([0, *counts])
        self._files[file] = state, parquet, starts
        return parquet, starts

    def _group(self, parquet: Any, key: tuple[str, str, int]) -> Any:
        if key not in self._groups:
            table = parquet.read_row_group(key[2], columns=[key[1]], use_threads=False)
            cells = table.column(0).combine_chunks()
            while str(cells.type).startswith("struct"):
                cells = cells.flatten()[0]
            self._groups[key] = cells
            kept = sum(one.nbytes for one in self._groups.values())
            while len(self._groups) > GROUPS and kept > GROUP_BYTES:
                kept -= self._groups.popitem(last=False)[1].nbytes
        self._groups.move_to_end(key)
        return self._groups[key]


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def open_parquet(file: str) -> Any:
    """A Parquet file as pyarrow's `ParquetFile`.

    Raises:
        DataError: it is none. UsageError: pyarrow is missing.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(f"{file}: reading Parquet needs pyarrow: pip install pyarrow") from error
    try:
        return parquet.ParquetFile(file if is_file(file) else open_location(file))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a Parquet file ({error})") from error


_CELLS = _Cells()
# A worker that was forked while a thread read has its lock held by nobody.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_CELLS.__init__)  # type: ignore[misc]
