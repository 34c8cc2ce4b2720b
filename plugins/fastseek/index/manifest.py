"""What an index folder is made of: the manifests, and the files they name.

    IDX/index.json          which line is current; replaced by one rename when a model is migrated
    IDX/1/manifest.json     the segments of that line; replaced by one rename by every change
    IDX/1/00000004.*.npy    files that never change

A line is all of an index that one model made. A manifest is the commit point: before it is renamed
a change is not there, after it the change is there whole. Files that no manifest names are left of
a killed writer, and the next writer removes them. Files that a newer manifest no longer names are
kept for `GRACE` seconds, so that a reader who has just read the older one finds them; who has
opened them keeps them as long as he likes.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from ..errors import ArtefactError, DataError, refuse_exhausted
from ..io.atomic import sync_folder
from ..io.digests import sha256
from ..io.json_files import read_json, write_json
from ..structures.known_digests import check_digest

FORMAT = 1
GRACE = 60.0  # seconds a file outlives the manifests that name it
POINTER, MANIFEST = "index.json", "manifest.json"
# What a line is made of, and what a killed writer may leave there.
OURS = re.compile(r"\d{8}\.[a-z]+\.(npy|npz|faiss)|\..+\.tmp-\d+(-\d+)?")


class FileEntry(msgspec.Struct, frozen=True):
    """A file as it was written: name, SHA-256, bytes, and the time of its last change in ns."""

    name: str
    sha256: str
    size: int
    time: int


class SegmentEntry(msgspec.Struct, frozen=True):
    """A segment: its number, how many rows it has and how many of them are deleted.

    Its files are "ids", "vectors", perhaps "columns", and "dead" once a row was deleted.
    """

    number: int
    rows: int
    dead: int
    files: dict[str, FileEntry]


class StructureEntry(msgspec.Struct, frozen=True):
    """A faiss structure of one segment, the recall that was measured when it was built, and the
    settings with which it is searched.
    """

    engine: str
    segment: int
    file: FileEntry
    recall: dict[str, Any]
    settings: tuple[dict[str, Any], ...] = ()


class Manifest(msgspec.Struct, frozen=True):
    """The state of a line.

    `next` numbers the next file; `dim` is 0 until the first vector; `edited` is the generation that
    last changed an image; `retired` tells when a file was last named.
    """

    metric: str
    engine: str
    dtype: str
    flat_below: int
    format: int = FORMAT
    generation: int = 0
    next: int = 0
    edited: int = 0
    dim: int = 0
    provenance: dict[str, Any] = {}
    columns: dict[str, str] = {}
    segments: tuple[SegmentEntry, ...] = ()
    structure: StructureEntry | None = None
    retired: dict[str, float] = {}

    @property
    def live(self) -> int:
        """How many images there are."""
        return sum(one.rows - one.dead for one in self.segments)


class Pointer(msgspec.Struct, frozen=True):
    """Which line is current, which was before, and which is being made, for which model.

    `lines` is the highest number that a line ever had: none is given twice. `edited` is that of the
    current line when it became so; an older version does not tell it. `source` is the model that the
    last switch brought, "" where it is not known.
    """

    format: int = FORMAT
    current: str = "1"
    previous: str = ""
    upcoming: str = ""
    model: str = ""
    lines: int = 1
    edited: int | None = None
    source: str = ""


def read_pointer(folder: pathlib.Path) -> Pointer:
    """Which line of an index is current.

    Raises:
        DataError: the folder is no index. ArtefactError: it is damaged, or of a newer version.
    """
    path = folder / POINTER
    if not path.exists():
        raise DataError(
            f"{folder}: is no index ({POINTER} is not there): make one with `fastseek index create"
            f" --out {folder}`"
        )
    pointer: Pointer = _convert(path, Pointer)
    lines = (pointer.current, pointer.previous, pointer.upcoming)
    if not pointer.current or not all(one == "" or one.isdigit() for one in lines):
        raise ArtefactError(f"{path}: not a whole file of an index")
    return pointer


def write_pointer(folder: pathlib.Path, pointer: Pointer) -> None:
    """Make another line current, in one step."""
    write_json(folder / POINTER, msgspec.to_builtins(pointer))
    sync_folder(folder)


def read_manifest(line: pathlib.Path) -> Manifest:
    """The state of a line.

    Raises:
        ArtefactError: it is missing, damaged, or of a newer version.
    """
    path = line / MANIFEST
    manifest: Manifest = _convert(path, Manifest)
    names = [file.name for file in files_of(manifest)]
    if not all(OURS.fullmatch(name) for name in names):
        raise ArtefactError(f"{path}: not a whole manifest of an index")
    return manifest


def write_manifest(line: pathlib.Path, manifest: Manifest) -> None:
    """Make a state the present one: from here on it is kept, whatever happens."""
    sync_folder(line)  # the names of the new files, before the manifest that tells of them
    # what JSON does not know, such as the version of torch, as its text
    write_json(line / MANIFEST, msgspec.to_builtins(manifest, enc_hook=str))
    sync_folder(line)


def _convert(path: pathlib.Path, kind: Any) -> Any:
    try:
        page = read_json(path)
    except DataError as error:
        raise ArtefactError(str(error)) from error
    written = page.get("format") if isinstance(page, dict) else None
    if written != FORMAT:
        raise ArtefactError(f"{path}: of format {written}, this version reads {FORMAT}")
    try:
        return msgspec.convert(page, kind)
    except msgspec.ValidationError as error:
        raise ArtefactError(f"{path}: not a whole file of an index ({error})") from error


def files_of(manifest: Manifest) -> list[FileEntry]:
    """All files a manifest names."""
    files = [file for segment in manifest.segments for file in segment.files.values()]
    return [*files, manifest.structure.file] if manifest.structure else files


def describe_file(path: pathlib.Path) -> FileEntry:
    """The entry of a file that has just been written."""
    state = path.stat()
    return FileEntry(path.name, sha256(path), state.st_size, state.st_mtime_ns)


def is_as_written(state: os.stat_result, file: FileEntry) -> bool:
    """Whether a file has the size and time of change with which it was written."""
    return (state.st_size, state.st_mtime_ns) == (file.size, file.time)


def check_file(line: pathlib.Path, file: FileEntry, verify: bool = False) -> None:
    """Check that a file is the one that was written.

    One of the same size and time of change is taken to be, unless `verify` says otherwise; any
    other one is compared with its hash.

    Raises:
        ArtefactError: it is not, or is gone.
    """
    path = line / file.name
    try:
        state = os.stat(path)
    except OSError as error:
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: cannot be read ({error.strerror})") from error
    known = is_as_written(state, file)
    if verify and sha256(path) != file.sha256:
        raise ArtefactError(f"{path}: the bytes are not those that were written")
    if not known and not verify:
        check_digest(path, file.sha256)


def retire(old: Manifest, new: Manifest) -> Manifest:
    """The new state, with the files that only the old one names put down as retired."""
    kept = {file.name for file in files_of(new)}
    gone = {file.name: time.time() for file in files_of(old) if file.name not in kept}
    before = {name: since for name, since in old.retired.items() if name not in kept}
    return msgspec.structs.replace(new, retired={**before, **gone})


def is_due(since: float) -> bool:
    """Whether a file that was retired then may be removed; a clock that jumped is none to trust."""
    return abs(time.time() - since) >= GRACE


def sweep(line: pathlib.Path, manifest: Manifest) -> Manifest:
    """Remove what no manifest names and what was retired long enough; returns the state without
    the latter.
    """
    due = [name for name, since in manifest.retired.items() if is_due(since)]
    kept = {file.name for file in files_of(manifest)} | set(manifest.retired) - set(due)
    _remove(line / name for name in _names(line) if OURS.fullmatch(name) and name not in kept)
    left = {name: since for name, since in manifest.retired.items() if name not in due}
    return msgspec.structs.replace(manifest, retired=left)


def _names(line: pathlib.Path) -> list[str]:
    with os.scandir(line) as entries:
        return [entry.name for entry in entries]


def _remove(paths: Iterable[pathlib.Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # Windows does not remove an open file
            path.unlink()
