"""One process a folder."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import IO

from ..errors import NO_ROOM, RunError, UsageError
from .atomic import make_folder

_mine: set[pathlib.Path] = set()
_between_threads = threading.Lock()


@contextlib.contextmanager
def hold_folder(folder: pathlib.Path) -> Iterator[None]:
    """Hold a folder, made when missing, so that no second process writes there.

    The system lets go of the lock when its process dies, however it dies; the file only tells who
    holds it.

    Raises:
        RunError: at once, if another process (or this one) holds it; names process and host.
        UsageError: the folder cannot be made or written to.
    """
    folder = pathlib.Path(folder).resolve()
    make_folder(folder)
    with _between_threads:  # the system's lock is one of processes: it lets a second thread through
        if folder in _mine:
            raise RunError(f"{folder}: this process is already writing here")
        _mine.add(folder)
    try:
        path = folder / ".lock"
        with _lock_file(path) as file:
            file.truncate(0)
            json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    finally:
        _mine.discard(folder)


@contextlib.contextmanager
def take_turn(folder: pathlib.Path) -> Iterator[None]:
    """Hold a folder, made when missing, after waiting for whoever holds it; processes only, not
    threads.

    Raises:
        UsageError: the folder cannot be made or written to.
    """
    import fcntl

    make_folder(folder)
    with _open_file(pathlib.Path(folder) / ".turn") as file:
        with contextlib.suppress(
            OSError
        ):  # a file system without locks: what is written is whole all the same
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def _lock_file(path: pathlib.Path) -> IO[str]:
    # lockf and not flock: loader workers, forked while the lock is held, must not keep it after
    # their parent's death.
    import fcntl

    while True:
        file = _open_file(path)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            message = (
                f"{path.parent}: another process is writing here ({file.read()}): wait for it, or"
                " stop it"
            )
            file.close()
            raise RunError(message) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()  # the last holder removed the file between our open and our lock


def _open_file(path: pathlib.Path) -> IO[str]:
    try:
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise UsageError(
            f"{path.parent}: cannot be written ({error.strerror}): name another folder"
        ) from error
