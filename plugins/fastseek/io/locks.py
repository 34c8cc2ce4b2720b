"""One process a folder, and one process a file.

Folders are locked by filelock: on Linux, macOS and Windows the system lets go of the lock when its process dies,
however it dies, and processes that were forked from it meanwhile do not keep it. A file system that has no locks is
used without, after a warning. filelock costs a command 60 ms to import, so it is imported when a folder is locked; the
lock of an open file (`try_lock`, `wait_for_lock`), which every written file needs for a moment, is the system's own.
Windows has no such lock: there nothing is swept, and two processes that append to one file must not do it at once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from ..errors import NO_FILES, NO_ROOM, RunError, UsageError
from .paths import PathLike, make_folder, tell_full_disk

if TYPE_CHECKING:
    import filelock

logger = logging.getLogger("fastseek")
LOCK = ".lock"  # of a folder
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


@contextlib.contextmanager
def hold_folder(folder: PathLike, name: str = LOCK, what: str = "") -> Iterator[None]:
    """Hold a folder, made when missing, so that no second process writes there.

    A file in it tells who holds it, and is removed at the end.

    Args:
        folder: that is held, or a part of it.
        name: of the file; processes that hold other names do not see one another.
        what: the part of the folder, for the message; "" for all of it.

    Raises:
        RunError: at once, if another process (or this one) holds it; names process and host.
        UsageError: the folder cannot be made or written to.
    """
    folder = pathlib.Path(folder).resolve()
    path = folder / name
    lock = _folder_lock(path, 0)
    with _acquire(lock, folder, what):
        try:
            yield
        finally:
            _remove(path, lock)


def is_held(folder: PathLike, name: str = LOCK) -> bool:
    """Whether some process holds a folder; the file that a dead one has left is removed.

    Args:
        folder: must be there.
        name: as for `hold_folder`.
    """
    path = pathlib.Path(folder).resolve() / name
    if not path.exists():
        return False
    lock = _folder_lock(path, 0)
    try:
        with _acquire(lock, path.parent):
            _remove(path, lock)
    except RunError:
        return True
    return False


@contextlib.contextmanager
def take_turn(folder: PathLike) -> Iterator[None]:
    """Hold a folder, made when missing, after waiting for whoever holds it.

    Raises:
        UsageError: the folder cannot be made or written to.
    """
    folder = pathlib.Path(folder).resolve()
    path = folder / ".turn"
    lock = _folder_lock(path, -1)
    with _acquire(lock, folder):
        try:
            yield
        finally:
            _remove(path, lock)


def try_lock(file: IO[Any]) -> bool:
    """Take the lock of a file that is open for writing; False when another process has it.

    The lock is one of processes: it is let go of when this one closes the file, by whatever handle,
    or dies. False too where the file system has no locks, True where the system has none.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def wait_for_lock(file: IO[Any]) -> None:
    """Take the lock of an open file, after whoever has it, until it is closed here.

    Other than that of `try_lock`, which it knows nothing of, it is one of open files: threads wait
    for one another too.
    """
    try:
        import fcntl
    except ImportError:
        return
    # Without locks the file is written all the same: whole lines, though perhaps twice.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def _folder_lock(path: pathlib.Path, timeout: float) -> filelock.BaseFileLock:
    import filelock

    make_folder(path.parent)
    _check_writable(path)
    return filelock.FileLock(
        path,
        timeout,
        thread_local=False,
        fallback_to_soft=False,  # such a lock outlives a killed process
        on_acquired=_sign,
    )


def _check_writable(path: pathlib.Path) -> None:
    """filelock takes a folder in which no file can be made for one that is held."""
    try:
        open(path, "ab").close()
    except OSError as error:
        if error.errno in (*NO_ROOM, *NO_FILES):
            raise
        message = f"{path.parent}: cannot be written ({error.strerror}): name another folder"
        raise UsageError(message) from error


def _sign(lock: int) -> None:
    """Write into an open lock file who holds it."""
    import socket

    owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    os.ftruncate(lock, 0)
    os.write(lock, owner.encode())


@contextlib.contextmanager
def _acquire(lock: filelock.BaseFileLock, folder: pathlib.Path, what: str = "") -> Iterator[None]:
    import filelock

    try:
        with tell_full_disk(lock.lock_file):
            lock.acquire()
    except filelock.Timeout as error:
        raise RunError(_tell_owner(folder, pathlib.Path(lock.lock_file), what)) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning(
            "%s has no locks (%s): see to it that no second process writes there", folder, error
        )
    try:
        yield
    finally:
        lock.release()


def _tell_owner(folder: pathlib.Path, path: pathlib.Path, what: str) -> str:
    owner, place = "", f"{folder}, {what}" if what else f"{folder}"
    with contextlib.suppress(OSError):  # Windows does not let others read a locked file
        owner = path.read_text(encoding="utf-8")
    with contextlib.suppress(ValueError, AttributeError):
        if json.loads(owner).get("pid") == os.getpid():
            return f"{place}: this process is already writing here"
    return f"{place}: another process is writing here ({owner}): wait for it, or stop it"


def _remove(path: pathlib.Path, lock: filelock.BaseFileLock) -> None:
    """Remove a lock file while it is held: whoever waits for it sees that it has no name any more.

    A process that was forked inside the block holds nothing, and removes nothing.
    """
    if lock.is_locked:
        with contextlib.suppress(OSError):  # Windows does not remove an open file
            path.unlink()
