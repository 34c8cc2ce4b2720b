"""Files that are either whole or absent, and where the data lives."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from ..errors import NO_ROOM, UsageError
from .locks import try_lock
from .paths import PathLike, make_folder, remove_folders, tell_full_disk, unwritable

_living: dict[str, object] = {}  # the temporary files that calls of this process hold now


@contextlib.contextmanager
def atomic(path: PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary neighbor of `path` and rename it over `path` when the block ends well.

    A killed or failing writer leaves the old file as it was; the reader never sees half a file.
    What a killed writer left of its temporary file, the next one removes. Text is UTF-8; a file
    name that is not goes out as the bytes it has on disk.

    Args:
        path: the final name; its folder is made when missing.
        mode: "wb" or "w".

    Raises:
        UsageError: nothing can be written there; nothing is left behind.
        OSError: the disk is full, then it names the file, or writing failed later.
    """
    path = _target(path)
    with _temporary(path) as temporary:
        try:
            with _open_temporary(path, temporary, mode) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if os.name == "nt":  # where an open file cannot be renamed
                    file.close()
                # Still open, so still locked: nobody takes it for a dead writer's.
                os.replace(temporary, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            failed = _find_failure(error)
            if failed is not None:
                _name_file(failed, path, temporary)
            if failed not in (None, error):
                raise failed from None
            raise


def _find_failure(error: BaseException) -> OSError | None:
    """The failure of the disk that an error is, or that it hides: torch.save tells of its own
    archive that is not whole, and not of the disk that is full.
    """
    if isinstance(error, OSError):
        return error
    hidden = error.__context__ if isinstance(error, RuntimeError) else None
    return hidden if isinstance(hidden, OSError) and hidden.errno in NO_ROOM else None


def _name_file(error: OSError, path: pathlib.Path, temporary: pathlib.Path) -> None:
    """Put the file into the error of a full disk: `write` knows no name, and numpy does not even
    tell the reason.
    """
    if error.errno is None and " requested and " in str(error):
        error.errno, error.strerror = errno.ENOSPC, f"not all could be written ({error})"
    if error.errno in NO_ROOM and error.filename in (None, str(temporary)):
        error.filename = str(path)


def sync_folder(folder: PathLike) -> None:
    """Wait until the names in a folder are on the disk: after a rename, so that a machine that
    loses its power has it too.

    Raises:
        OSError: the disk failed.
    """
    if os.name == "nt":  # where a folder cannot be opened, and names are written at once
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with tell_full_disk(folder):
            os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(path: PathLike, inputs: Iterable[PathLike | None] = ()) -> None:
    """Check that `atomic` could write a file, so that a wrong name is told before the work and not
    after it.

    Args:
        path: the final name.
        inputs: as for `check_apart`.

    Raises:
        UsageError: nothing can be written there, or an input would be lost; nothing is left behind
            either way.
    """
    check_apart(path, inputs)
    path = _target(path)
    made = make_folder(path.parent)
    try:
        with _temporary(path) as temporary:
            _open_temporary(path, temporary, "wb").close()
            temporary.unlink()
    finally:
        remove_folders(made)


def check_apart(out: PathLike, inputs: Iterable[PathLike | None]) -> None:
    """Check that an output is none of the inputs, and lies in none that is an embeddings folder.

    Args:
        out: a file or folder that will be written; symbolic links are followed.
        inputs: files and folders that are read; None for one that is not given.

    Raises:
        UsageError: it is or does.
    """
    place = pathlib.Path(os.path.realpath(out))
    for given in inputs:
        if given is None:
            continue
        known = pathlib.Path(os.path.realpath(given))
        inside = known in place.parents and (known / "manifest.json").exists()
        if place == known or inside:
            raise UsageError(f"{out} is an input of this command, name another file")


@contextlib.contextmanager
def _temporary(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name beside `path` that no other call of this process has now: the system's locks are of
    processes only.
    """
    start, token = f".{path.name}.tmp-{os.getpid()}", object()
    names = (
        path.with_name(f"{start}-{number}" if number else start) for number in itertools.count()
    )
    # setdefault is one step, so of two threads only one finds its own token there
    mine = next(
        name for name in names if _living.setdefault(os.path.realpath(name), token) is token
    )
    # Taken now: the working folder may be another when the block ends.
    kept = os.path.realpath(mine)
    try:
        yield mine
    finally:
        _living.pop(kept, None)


def _target(path: PathLike) -> pathlib.Path:
    path = pathlib.Path(path)
    if not path.name:
        raise UsageError(f"{str(path)!r}: cannot be written (it is no file): name another file")
    return path


def _open_temporary(path: pathlib.Path, temporary: pathlib.Path, mode: str) -> IO[Any]:
    made = make_folder(path.parent)
    try:
        # A folder, or a device that a rename would put an end to.
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: cannot be written (it is no file): name another file")
        remove_leftovers(path)
        while True:
            file = _open(temporary, mode)
            try_lock(file)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(temporary)):
                    return file
            file.close()  # swept between our open and our lock
    except (OSError, UsageError) as error:
        remove_folders(made)
        raise unwritable(path, error) from error


def _open(path: pathlib.Path, mode: str) -> IO[Any]:
    if "b" in mode:
        return open(path, mode)
    # A file name that is no UTF-8 goes out as the bytes it has on disk.
    return open(path, mode, encoding="utf-8", errors="surrogateescape", newline="\n")


def remove_leftovers(path: pathlib.Path) -> None:
    """Remove the temporary neighbors of `path` whose writers are dead: those that nobody has
    locked.

    Args:
        path: the final name, as `atomic` was given it.
    """
    start = f".{path.name}.tmp-"
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for name in [
            path.with_name(entry.name) for entry in entries if entry.name.startswith(start)
        ]:
            # To open and close our own file would let go of its lock.
            if os.path.realpath(name) in _living:
                continue
            with contextlib.suppress(OSError), open(name, "r+b") as file:
                if try_lock(file):
                    name.unlink()
