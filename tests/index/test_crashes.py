"""Killed or failing at any write, the index is as it was before or as it is after."""

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from twin import Twin, assert_holds, draw

from fastseek.errors import RunError
from fastseek.index import Index, draft, manifest
from fastseek.io import atomic

NAMES = [f"p{number}" for number in range(6)]


class Killed(BaseException):
    """What a signal looks like from inside."""


class Disk:
    """Counts what is asked of the disk, and ends the process, or fails, at one of it.

    A dead process does nothing more: whatever it asks for later is not done either.
    """

    def __init__(self, patch, at, fails):
        self.at, self.fails, self.count, self.dead = at, fails, 0, False
        for name in ("replace", "unlink", "remove", "mkdir"):
            patch.setattr(os, name, self.watched(getattr(os, name)))
        # Nothing here depends on the disk having it, and it is slow.
        patch.setattr(os, "fsync", self.watched(lambda handle: None))
        real = atomic._open
        patch.setattr(atomic, "_open", lambda path, mode: Watched(real(path, mode), self))

    def watched(self, real):
        def call(*args, **kwargs):
            self.tick(str(args[0]))
            return real(*args, **kwargs)

        return call

    def tick(self, what, half=lambda: None):
        if what.endswith((".lock", ".turn")):
            return
        if self.dead:
            raise Killed
        self.count += 1
        if self.count == self.at:
            half()
            self.dead = not self.fails
            raise OSError(errno.ENOSPC, "No space left on device", what) if self.fails else Killed


class Watched:
    """An open file whose first two writes are counted; the fatal one writes half."""

    def __init__(self, file, disk):
        self.file, self.disk, self.left = file, disk, 2

    def write(self, data):
        data = data if isinstance(data, str) else memoryview(data).cast("B")
        self.left -= 1
        if self.left >= 0 or self.disk.dead:
            self.disk.tick(self.file.name, lambda: self.file.write(data[: len(data) // 2]))
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def start(folder, engine="flat"):
    """An index with a few segments, and its twin."""
    index, twin = Index.create(folder, engine=engine, flat_below=4), Twin()
    for first in range(0, 6, 2):
        names = NAMES[first : first + 2]
        vectors, told = draw(2, seed=first), {"price": [first, first + 1]}
        index.add(names, vectors, told)
        twin.put(names, vectors, told)
    return index, twin


def add(index, twin):
    index.add(["n1", "n2"], draw(2, seed=9), {"price": [8, 9]})
    twin.put(["n1", "n2"], draw(2, seed=9), {"price": [8, 9]})


def upsert(index, twin):
    index.upsert(["p1", "n1"], draw(2, seed=9), {"price": [8, 9]})
    twin.put(["p1", "n1"], draw(2, seed=9), {"price": [8, 9]})


def delete(index, twin):
    index.delete(["p1", "p2", "p3"])
    twin.delete(["p1", "p2", "p3"])


def compact(index, twin):
    index.compact()


CHANGES = [add, upsert, delete, compact]


@pytest.mark.parametrize("fails", [False, True], ids=["killed", "full disk"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_a_change_that_is_stopped_at_any_write_is_there_whole_or_not_at_all(
    tmp_path, monkeypatch, change, fails
):
    monkeypatch.setattr(draft, "MOST_SMALL", 3)
    monkeypatch.setattr(manifest, "GRACE", 0.0)
    _, before = start(tmp_path / "start")
    states, at, count = set(), 0, 1
    while count >= at:
        at += 1
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "start", folder)
        index, after = Index.open(folder), before.copy()
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at, fails)
            with contextlib.suppress(Killed, RunError):
                change(index, after)
        count = disk.count
        done = Index.open(folder)
        is_new = change is not compact and done._view.manifest.generation > 3
        if is_new:
            change(Discarded(), after)
        assert_holds(done, after if is_new else before)
        states.add(is_new)
        # Whoever writes next clears up, and goes on.
        done.delete(["p0"])
        left = {path.name for path in (folder / "1").iterdir()}
        assert left == named(done) | {"manifest.json"}
    assert count > 8 and (states == {False, True} or change is compact)


class Discarded:
    """An index that does nothing."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def named(index):
    state = index._view.manifest
    return {file.name for file in manifest.files_of(state)} | set(state.retired)


@pytest.mark.parametrize("fails", [False, True], ids=["killed", "full disk"])
def test_a_create_that_is_stopped_can_be_run_again(tmp_path, monkeypatch, fails):
    at, count = 0, 1
    while count >= at:
        at += 1
        folder = tmp_path / str(at)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at, fails)
            with contextlib.suppress(Killed, OSError, RunError):
                Index.create(folder)
        count = disk.count
        if not (folder / "index.json").exists():
            Index.create(folder)
        index = Index.open(folder)
        index.add(["a"], draw(1))
        assert index.check() == []
    assert count > 4


def test_all_that_a_manifest_names_is_on_the_disk_before_it_is(tmp_path, monkeypatch):
    """After a loss of power too: files are synced, then their names, then the manifest, then its."""
    index, _ = start(tmp_path / "i")
    events = []

    def watch(name, spell):
        real = getattr(os, name)

        def call(*args):
            events.append((name, spell(*args)))
            return real(*args)

        monkeypatch.setattr(os, name, call)

    watch("fsync", lambda handle: pathlib.Path(os.readlink(f"/proc/self/fd/{handle}")).name)
    watch("replace", lambda source, target: pathlib.Path(target).name)
    index.upsert(["p0", "n"], draw(2))
    names = [one for kind, one in events if kind == "replace"]
    assert names[-1] == "manifest.json" and len(names) == 5
    for name in names:
        at = events.index(("replace", name))
        assert events[at - 1][0] == "fsync" and f".{name}.tmp" in events[at - 1][1]
    last = events.index(("replace", "manifest.json"))
    assert events[last - 2] == ("fsync", "1") == events[last + 1] and last + 2 == len(events)


WRITER = """
import sys
import numpy as np
from fastseek.index import Index
index = Index.open(sys.argv[1])
print("ready", flush=True)
for number in range(len(index) if len(index) else 0, 100000):
    vector = np.random.default_rng(number).normal(size=(1, 8)).astype(np.float32)
    index.add([f"p{number:06d}"], vector, {"number": [number]})
    if number % 5 == 4:
        index.upsert([f"p{number - 1:06d}"], vector, {"number": [-number]})
    print(number, flush=True)
"""


def test_a_process_that_is_killed_leaves_what_it_said_it_had_done(tmp_path):
    Index.create(tmp_path / "i")
    for changes in (3, 23):
        other = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "i"], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout.readline() == "ready\n"
        lines = [other.stdout.readline() for _ in range(changes)]
        other.send_signal(signal.SIGKILL)
        lines += other.stdout.readlines()
        other.wait()
        index = Index.open(tmp_path / "i")
        assert int(lines[-1]) + 1 <= len(index) <= int(lines[-1]) + 2
        assert index.check() == []
        assert index.ids.tolist() == [f"p{number:06d}" for number in range(len(index))]
        numbers = [abs(number) for number in index.metadata(index.ids)["number"]]
        assert all(one in (row, row + 1) for row, one in enumerate(numbers))
    np.testing.assert_allclose(index.search(index.vectors(index.ids[:1]), 1).scores, 1, rtol=1e-6)
