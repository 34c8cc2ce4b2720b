"""Embeddings at an address: written by several machines, killed, and read through a cache."""

import dataclasses

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.io import remote_folder
from fastseek.structures import Embeddings
from fastseek.structures.embedding_job import EmbeddingJob
from fastseek.structures.embeddings_writer import store
from fastseek.structures.job_part import ALL, JobPart
from fastseek.structures.remote_embeddings import count_missing_anywhere, store_part_anywhere

fsspec = pytest.importorskip("fsspec")
URL = "memory://bucket/vectors"
JOB = EmbeddingJob(11, {"model": "abc"}, "images", shard_items=3)
BAD = 4


class Killed(BaseException):
    pass


def feed(die_at=None):
    def batches_of(runs):
        for run in runs:
            if die_at in run:
                raise Killed
            good = [row for row in run if row != BAD]
            vectors = np.stack([np.full(4, row + 1, np.float32) for row in good])
            reject = {"path": f"{BAD}", "row": BAD, "phase": "x", "code": "y", "detail": "z"}
            yield [f"{row}" for row in good], vectors, [reject] if BAD in run else []

    return batches_of


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """machine(name): from now on this process is on another machine, with a home of its own."""
    system = fsspec.filesystem("memory")
    system.store.clear()

    def move(name):
        monkeypatch.setenv("HOME", str(tmp_path / name))

    move("first")
    yield move
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def contents():
    store = fsspec.filesystem("memory").store
    return {name.rsplit("/", 1)[1]: bytes(file.getvalue()) for name, file in store.items()}


def test_parts_of_several_machines_end_in_the_bytes_of_one_process(machine, tmp_path):
    with pytest.raises(Killed):
        store_part_anywhere(feed(die_at=9), JOB, URL, JobPart(1, 2))
    assert "00001.json" in contents() and "00003.json" not in contents()
    machine("second")
    assert store_part_anywhere(feed(), JOB, URL, JobPart(0, 2)) is None
    assert count_missing_anywhere(URL) == (1, 4)
    with pytest.raises(DataError, match="not whole yet"):
        Embeddings.load(URL)
    machine("third")  # where the killed part is started again
    found = store_part_anywhere(feed(), JOB, URL, JobPart(1, 2))
    store(feed(), JOB, tmp_path / "twin")
    assert contents() == {file.name: file.read_bytes() for file in (tmp_path / "twin").iterdir()}
    twin = Embeddings.load(tmp_path / "twin")
    assert list(found.ids) == list(twin.ids) and (found.vectors[:] == twin.vectors[:]).all()
    # Nothing is embedded again, and nothing is left of the shards that were made here.
    store_part_anywhere(feed(die_at=0), JOB, URL, ALL)
    made = remote_folder.remote_cache(URL) / "made"
    assert [file.name for file in made.iterdir() if file.suffix != ".lock"] == ["store.json"]


def test_two_jobs_that_find_an_address_empty_at_once_are_not_mixed(machine):
    def begin_another(runs):  # while the first shard of the first job is made
        fsspec.filesystem("memory").store.clear()
        machine("second")
        with pytest.raises(Killed):
            store_part_anywhere(feed(die_at=0), dataclasses.replace(JOB, source="b"), URL, ALL)
        machine("first")
        return feed()(runs)

    with pytest.raises(ArtefactError, match="another job was begun there"):
        store_part_anywhere(begin_another, JOB, URL, ALL)
    assert set(contents()) == {"store.json"}


def test_what_was_read_is_read_once_and_compared_with_its_hash(machine, monkeypatch):
    store_part_anywhere(feed(), JOB, URL, ALL)
    machine("other")
    read = []
    real = remote_folder.RemoteFolder.fetch
    monkeypatch.setattr(
        remote_folder.RemoteFolder, "fetch", lambda *given: read.append(given[1]) or real(*given)
    )
    vectors = Embeddings.load(URL, verify=True).vectors[:]
    assert len(read) == 5 and len(vectors) == 10
    Embeddings.load(URL, verify=True)
    assert len(read) == 5
    machine("another")
    file = fsspec.filesystem("memory").store["/bucket/vectors/00001.vectors.npy"]
    file.seek(file.getbuffer().nbytes - 1)
    file.write(b"\x7f")
    with pytest.raises(ArtefactError, match=f"{URL}/00001.vectors.npy: the bytes are not those"):
        Embeddings.load(URL)
    fsspec.filesystem("memory").rm("/bucket/vectors/00001.vectors.npy")
    with pytest.raises(ArtefactError, match="00001.vectors.npy: is in the manifest"):
        Embeddings.load(URL)


def test_an_address_that_holds_something_else_is_left_as_it_is(machine):
    store_part_anywhere(feed(), JOB, URL, ALL)
    before = contents()
    other = EmbeddingJob(11, {"model": "another"}, "images", shard_items=3)
    with pytest.raises(ArtefactError, match=f"{URL} holds other embeddings .model: 'abc' there"):
        store_part_anywhere(feed(), other, URL, ALL)
    assert contents() == before
    # What this machine knows of a job that is gone from there does not stand in the way.
    fsspec.filesystem("memory").rm("/bucket/vectors", recursive=True)
    assert len(store_part_anywhere(feed(), other, URL, ALL)) == 10
    fsspec.filesystem("memory").pipe_file("/bucket/mine/notes.txt", b"x")
    with pytest.raises(UsageError, match="memory://bucket/mine holds 'notes.txt'"):
        store_part_anywhere(feed(), JOB, "memory://bucket/mine", ALL)
    fsspec.filesystem("memory").pipe_file("/bucket/lost/00000.json", b"{}")
    with pytest.raises(ArtefactError, match="shards of an unknown job"):
        store_part_anywhere(feed(), JOB, "memory://bucket/lost", ALL)
    with pytest.raises(UsageError, match="a web server has no folders"):
        store_part_anywhere(feed(), JOB, "http://127.0.0.1:1/x", ALL)
