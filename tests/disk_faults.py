"""Disks that fail and processes that die at any operation, one after the other: in process, so that
all can be tried.
"""

import builtins
import contextlib
import errno
import fcntl
import io
import os
import pathlib
import shutil

import pytest

from fastseek.errors import NO_ROOM, FastSeekError

# The process dies; one operation fails; the disk is full from one on, though files can be removed.
KINDS = ("killed", "fails", "full")
PID = 999_999_999  # of the process that is stopped: its temporary files are those of another
FREEING = ("unlink", "remove", "rmdir", "lock")  # what a full disk has room for
WRITES = 2  # of a file are counted, the first ones: some are written in many pieces


class Killed(BaseException):
    """What a kill looks like from inside."""


class Disk:
    """Counts what is asked of the disk below a folder, and dies or fails at one operation of it.

    Opening to write, writing, flushing, renaming, linking, removing, making folders, fsync and locks
    are counted. A dead process does nothing more: whatever it asks for later is not done either, and
    its locks are gone.

    Args:
        patch: a MonkeyPatch; while it holds, the disk is watched.
        folder: nothing else is watched.
        at: the operation, from 1; 0 counts only.
        kind: one of KINDS.
    """

    def __init__(self, patch, folder, at=0, kind="killed"):
        self.folder, self.at, self.kind = os.path.realpath(folder), at, kind
        self.count, self.log = 0, []
        patch.setattr(os, "getpid", lambda: PID)
        for name in ("unlink", "remove", "rmdir", "mkdir", "truncate"):
            patch.setattr(os, name, self._watch_path(name, getattr(os, name)))
        for name in ("replace", "rename", "link"):
            patch.setattr(os, name, self._watch_path(name, getattr(os, name), 1))
        for name in ("write", "ftruncate", "sendfile"):
            patch.setattr(os, name, self._watch_handle(name, getattr(os, name)))
        # Nothing here depends on the disk having it, and it is slow.
        patch.setattr(os, "fsync", self._watch_handle("fsync", lambda handle: None))
        for name in ("flock", "lockf"):
            patch.setattr(fcntl, name, self._watch_lock(getattr(fcntl, name)))
        patch.setattr(os, "open", self._watch_os_open(os.open))
        opens = self._watch_open(builtins.open)
        patch.setattr(builtins, "open", opens)
        patch.setattr(io, "open", opens)

    @property
    def stopped(self):
        """Whether the operation was reached."""
        return 0 < self.at <= self.count

    def tick(self, name, path, half=None, named=False):
        """Count an operation, and die or fail where it is the one.

        Args:
            name: of the operation.
            path: what it touches.
            half: does half of it.
            named: whether the system tells the file.
        """
        after, now = self.stopped, self.count + 1 == self.at
        if after and self.kind == "killed":
            raise Killed
        self.count += 1
        self.log.append(f"{name} {os.path.relpath(path, self.folder)}")
        if now and half:
            half()
        if now and self.kind == "killed":
            raise Killed
        full = self.kind == "full" and (now or after) and name not in FREEING
        if full or (now and self.kind == "fails"):
            number = errno.ENOLCK if name == "lock" else errno.ENOSPC
            raise OSError(number, os.strerror(number), *([path] if named else []))

    def _path(self, place, dir_fd=None):
        """The path of a name or an open file below the folder, "" elsewhere."""
        if hasattr(place, "fileno"):
            place = place.fileno()
        if isinstance(place, int):
            path = os.readlink(f"/proc/self/fd/{place}")
        else:
            above = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
            path = os.path.abspath(os.path.join(above, os.fsdecode(place)))
            path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return path if f"{path}/".startswith(f"{self.folder}/") else ""

    def _watch_path(self, name, real, which=0):
        def call(*args, **kwargs):
            path = self._path(args[which], kwargs.get("dir_fd"))
            if path and not (name == "mkdir" and os.path.isdir(path)):
                self.tick(name, path, named=True)
            return real(*args, **kwargs)

        return call

    def _watch_handle(self, name, real):
        def call(handle, *args):
            path = self._path(handle)
            if path:
                self.tick(name, path)
            return real(handle, *args)

        return call

    def _watch_lock(self, real):
        def call(file, what, *args):
            path = self._path(file)
            if path and not what & fcntl.LOCK_UN:
                self.tick("lock", path)
            return real(file, what, *args)

        return call

    def _watch_os_open(self, real):
        def call(place, flags, *args, **kwargs):
            path = self._path(place, kwargs.get("dir_fd"))
            if path and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.tick("open", path, named=True)
            return real(place, flags, *args, **kwargs)

        return call

    def _watch_open(self, real):
        def call(place, mode="r", *args, **kwargs):
            path = "" if isinstance(place, int) else self._path(place)
            if not path or not set(mode) & set("wax+"):
                return real(place, mode, *args, **kwargs)
            self.tick("open", path, named=True)
            return Watched(real(place, mode, *args, **kwargs), self, path)

        return call


class Watched:
    """An open file whose writes are counted; the fatal one writes half."""

    def __init__(self, file, disk, path):
        self._file, self._disk, self._path, self._left = file, disk, path, WRITES

    def write(self, data):
        data = data if isinstance(data, str) else memoryview(data).cast("B")
        self._left -= 1
        if self._left >= 0 or self._disk.stopped:
            self._disk.tick("write", self._path, lambda: self._write_half(data))
        return self._file.write(data)

    def _write_half(self, data):
        self._file.write(data[: len(data) * 2 // 3])
        self._file.flush()

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        self._disk.tick("flush", self._path)
        self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def __iter__(self):
        return iter(self._file)

    def __getattr__(self, name):
        return getattr(self._file, name)


class Stop:
    """One try of a piece of work.

    Args:
        folder: the work's own copy of the start.
        disk: what it was stopped by.
        error: what it ended with, None where it went well.
    """

    def __init__(self, folder, disk, error):
        self.folder, self.disk, self.error = folder, disk, error

    @property
    def where(self):
        """The operation it was stopped at, for messages."""
        return f"{self.disk.kind} at {self.disk.at}: {self.disk.log[self.disk.at - 1]}"


def each_stop(start, work, kind, every=1):
    """Do the work in copies of a folder, stopped at every operation in turn.

    What it raises must be an error that a command tells in one line, and name a full disk's file.

    Args:
        start: a folder, or one that is not there; the copies lie beside it.
        work: called with the copy; asks the same of the disk every time.
        kind: one of KINDS.
        every: 1 for all operations; 2 for every second one, where the work is slow.

    Yields:
        a Stop each.
    """
    log = _try(start, work, 0, kind).disk.log
    assert len(log) > 3, log
    for at in range(1, len(log) + 1, every):
        operation = log[at - 1]
        # A full disk has room for it: the next operation tells as much.
        if kind == "full" and operation.startswith(FREEING):
            continue
        stop = _try(start, work, at, kind)
        assert stop.disk.log[at - 1] == operation, (stop.where, operation)
        assert kind != "killed" or isinstance(stop.error, Killed), stop.where
        yield stop
        shutil.rmtree(stop.folder, ignore_errors=True)


def _try(start, work, at, kind):
    folder = start.parent / f"{start.name} {at}"
    if start.exists():
        shutil.copytree(start, folder)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, folder, at, kind)
        error = _error_of(work, folder)
    if not at:
        assert error is None, error
        shutil.rmtree(folder, ignore_errors=True)
    return Stop(folder, disk, error)


def _error_of(work, folder):
    try:
        work(folder)
    except Killed as error:
        return error
    except FastSeekError as error:
        return error
    except OSError as error:
        assert error.errno not in NO_ROOM or error.filename, "the full disk's file is not told"
        return error
    return None


def names(folder):
    """The files below a folder, by their names relative to it."""
    with contextlib.suppress(FileNotFoundError):
        return {
            path.relative_to(folder).as_posix()
            for path in pathlib.Path(folder).rglob("*")
            if path.is_file()
        }
    return set()
