"""Killed or failing at any write, the index is as it was before or as it is after."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from twin import Twin, assert_holds, draw

from disk_faults import KINDS, each_stop
from fastseek.index import Index, draft, manifest

NAMES = [f"p{number}" for number in range(6)]


@pytest.fixture
def quick(monkeypatch):
    """Nothing waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


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


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_a_change_that_is_stopped_at_any_write_is_there_whole_or_not_at_all(
    tmp_path, monkeypatch, change, kind
):
    monkeypatch.setattr(draft, "MOST_SMALL", 3)
    monkeypatch.setattr(manifest, "GRACE", 0.0)
    _, before = start(tmp_path / "start")
    after = before.copy()
    change(Discarded(), after)
    states = set()
    for stop in each_stop(
        tmp_path / "start", lambda folder: change(Index.open(folder), Discarded()), kind
    ):
        done = Index.open(stop.folder)
        is_new = change is not compact and done._view.manifest.generation > 3
        assert is_new or stop.error or change is compact, stop.where
        expected = (after if is_new else before).copy()
        assert_holds(done, expected)
        states.add(is_new)
        # Whoever writes next clears up, and goes on.
        done.delete(["p0"])
        left = {path.name for path in (stop.folder / "1").iterdir()}
        assert left == named(done) | {"manifest.json"}, stop.where
    assert states == {False, True} or change is compact


class Discarded:
    """An index that does nothing."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def named(index):
    state = index._view.manifest
    return {file.name for file in manifest.files_of(state)} | set(state.retired)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
def test_a_create_that_is_stopped_can_be_run_again(tmp_path, kind):
    for stop in each_stop(tmp_path / "start", Index.create, kind):
        assert stop.error or (stop.folder / "index.json").exists(), stop.where
        if not (stop.folder / "index.json").exists():
            Index.create(stop.folder)
        index = Index.open(stop.folder)
        index.add(["a"], draw(1))
        assert index.check() == [], stop.where


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
