import contextlib
import csv
import hashlib
import json
import multiprocessing
import os
import pathlib
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.io.locks import hold_folder
from fastseek.structures import Embeddings, embedding_job, known_digests, shard_records
from fastseek.structures import embeddings_writer as module
from fastseek.structures.embedding_job import EmbeddingJob
from fastseek.structures.shard_records import COLUMNS

PASSPORT = {
    "model": "abc",
    "views": ["hflip()"],
    "preprocessing": {"test": ["resize(224)"], "size": (1, 2)},
}


def store(batches, total, folder, provenance, shard_items=0, dtype="float32", source="", **how):
    job = EmbeddingJob(total, provenance, source, dtype, shard_items=shard_items)
    return module.store(batches, job, folder, **how)


def store_anew(batches, total, folder, provenance):
    return store(batches, total, folder, provenance, replace=True)


def fits(folder, total, provenance, source, shard_items=0, dtype="float32"):
    job = EmbeddingJob(total, provenance, source, dtype, shard_items=shard_items)
    return not embedding_job.is_for_another(folder, job)


class Killed(BaseException):
    """What a signal looks like from inside."""


def vector(item):
    return np.random.default_rng(item).normal(size=5).astype(np.float32)


def feed(total, bad=(), batch=4, die_at=None, calls=None):
    """Items in batches from anywhere; `bad` ones are rejected; dies when it comes to `die_at`."""

    def batches_of(runs):
        if calls is not None:
            calls.extend(run.start for run in runs)
        for numbers in cut(runs, batch):
            if die_at is not None and die_at in numbers:
                raise Killed
            good = [n for n in numbers if n not in bad]
            rejects = [
                {
                    "path": f"p{n}.jpg",
                    "row": n,
                    "phase": "embed",
                    "code": "TRUNCATED",
                    "detail": 'x, "y"',
                    "sha256": "00",
                    "bytes": 7,
                }
                for n in numbers
                if n in bad
            ]
            yield (
                [f"p{n}.jpg" for n in good],
                np.array([vector(n) for n in good]),
                rejects,
                len(numbers),
            )

    return batches_of


def cut(runs, size):
    for run in runs:
        for first in range(run.start, run.stop, size):
            yield range(first, min(first + size, run.stop))


def files(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def test_what_is_stored_is_what_came_in_order(tmp_path):
    """landmark row 39."""
    result = store(feed(23, bad={3, 8, 9}), 23, tmp_path / "e", PASSPORT, shard_items=8)
    kept = [n for n in range(23) if n not in {3, 8, 9}]
    assert result.ids.tolist() == [f"p{n}.jpg" for n in kept]
    np.testing.assert_array_equal(result.vectors[:], [vector(n) for n in kept])
    loaded = Embeddings.load(tmp_path / "e")
    loaded.verify(tmp_path / "e")
    assert loaded.provenance["model"] == "abc" and loaded.vectors.dtype == np.float32


@settings(max_examples=12, deadline=None)
@given(
    kills=st.lists(st.integers(0, 29), max_size=3),
    bad=st.sets(st.integers(0, 29), max_size=8),
    batch=st.integers(1, 9),
    shard=st.integers(4, 12),
)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tmp_path_factory, kills, bad, batch, shard
):
    """landmark row 39."""
    home = tmp_path_factory.mktemp("s")
    store(feed(30, bad, 4), 30, home / "whole", PASSPORT, shard)
    for kill in sorted(kills):
        try:
            store(feed(30, bad, batch, die_at=kill), 30, home / "killed", PASSPORT, shard)
        except Killed:
            assert not (home / "killed" / "manifest.json").exists()
    store(feed(30, bad, batch), 30, home / "killed", PASSPORT, shard)
    assert files(home / "killed") == files(home / "whole")


def test_only_the_missing_shards_are_made_again(tmp_path):
    calls = []
    with pytest.raises(Killed):
        store(feed(40, die_at=21, calls=calls), 40, tmp_path, PASSPORT, shard_items=8)
    store(feed(40, calls=calls), 40, tmp_path, PASSPORT, shard_items=8)
    store(feed(40, calls=calls), 40, tmp_path, PASSPORT, shard_items=8)
    assert calls == [0, 8, 16, 24, 32, 16, 24, 32]


@pytest.mark.parametrize("name", ["00001.vectors.npy", "00001.json"])
def test_a_damaged_or_missing_shard_alone_is_made_again(tmp_path, name):
    calls = []
    store(feed(40), 40, tmp_path, PASSPORT, shard_items=8)
    before = files(tmp_path)
    if name.endswith("json"):
        (tmp_path / name).unlink()
    else:
        content = bytearray((tmp_path / name).read_bytes())
        content[-1] ^= 1
        (tmp_path / name).write_bytes(content)
    store(feed(40, calls=calls), 40, tmp_path, PASSPORT, shard_items=8)
    assert calls == [8] and files(tmp_path) == before


def test_rejects_are_listed_in_order_with_all_columns(tmp_path):
    store(feed(12, bad={9, 2}), 12, tmp_path, PASSPORT, shard_items=5)
    lines = (tmp_path / "rejects.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[1:] == [
        'p2.jpg,2,embed,TRUNCATED,"x, ""y""",00,7',
        'p9.jpg,9,embed,TRUNCATED,"x, ""y""",00,7',
    ]


def test_file_names_that_are_no_utf8_go_out_and_in(tmp_path):
    good, bad = os.fsdecode(b"x\xff.jpg"), os.fsdecode(b"y\xfe.jpg")
    batch = (
        [good],
        np.ones((1, 2), np.float32),
        [{"path": bad, "row": 1, "code": "TRUNCATED", "detail": bad}],
    )
    for _ in range(2):  # the second run reads what the first one wrote
        made = store(lambda runs: [batch], 2, tmp_path, {"root": bad}, source="aa")
    assert made.ids.tolist() == [good] and made.provenance["root"] == bad
    with open(
        tmp_path / "rejects.csv", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [bad] and b"y\xfe.jpg" in (
        tmp_path / "rejects.csv"
    ).read_bytes()
    assert Embeddings.load(tmp_path).ids.tolist() == [good]
    Embeddings.load(tmp_path).verify(tmp_path)


@pytest.mark.parametrize(
    ("value", "detail"), [(np.nan, "5 of 5"), (np.inf, "5 of 5"), (0, "zero"), (1e30, "")]
)
def test_a_vector_that_is_not_finite_or_zero_is_rejected(tmp_path, value, detail):
    vectors = np.ones((3, 5), np.float32)
    vectors[1] = value
    result = store(lambda runs: [(["a", "b", "c"], vectors, [])], 3, tmp_path, {})
    lines = (tmp_path / "rejects.csv").read_text().splitlines()[1:]
    assert result.ids.tolist() == (["a", "c"] if detail else ["a", "b", "c"])
    assert len(lines) == bool(detail)
    assert all(
        line.startswith("b,1,embed,NONFINITE_EMBEDDING") and detail in line for line in lines
    )


def test_half_precision_halves_the_space_and_rejects_what_it_cannot_hold(tmp_path):
    """landmark row 39."""
    vectors = np.array([[1.5, 2], [1e6, 1]], np.float32)
    result = store(lambda runs: [(["a", "b"], vectors, [])], 2, tmp_path, {}, dtype="float16")
    assert result.vectors.dtype == np.float16 and result.ids.tolist() == ["a"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "xyz"}, "model: 'abc' there, 'xyz' now"),
        ({"views": []}, "views"),
        ({"new": 1}, "new: None there, 1 now"),
    ],
)
def test_a_folder_of_other_embeddings_is_refused_with_what_differs(tmp_path, change, told):
    with pytest.raises(Killed):
        store(feed(10, die_at=5), 10, tmp_path, PASSPORT, shard_items=4)
    with pytest.raises(ArtefactError, match=told):
        store(feed(10), 10, tmp_path, PASSPORT | change, shard_items=4)
    with pytest.raises(ArtefactError, match="total: 10 there, 11 now"):
        store(feed(11), 11, tmp_path, PASSPORT, shard_items=4)


def test_a_folder_of_other_photos_is_refused_whole_or_half_made(tmp_path):
    store(feed(10), 10, tmp_path / "whole", PASSPORT, shard_items=4, source="aa")
    with pytest.raises(Killed):
        store(feed(10, die_at=5), 10, tmp_path / "half", PASSPORT, shard_items=4, source="aa")
    for name in ("whole", "half"):
        before = files(tmp_path / name)
        for other in ("bb", ""):
            with pytest.raises(
                ArtefactError, match=r"other images \(or they have changed\): choose another folder"
            ):
                store(feed(10), 10, tmp_path / name, PASSPORT, shard_items=4, source=other)
        assert files(tmp_path / name) == before
        assert len(store(feed(10), 10, tmp_path / name, PASSPORT, shard_items=4, source="aa")) == 10


def test_a_folder_whose_photos_nobody_wrote_down_is_not_taken_for_known_ones(tmp_path):
    store(feed(3), 3, tmp_path, PASSPORT)
    plan = json.loads((tmp_path / "store.json").read_text())
    del plan["source"]
    (tmp_path / "store.json").write_text(json.dumps(plan))
    assert len(store(feed(3), 3, tmp_path, PASSPORT)) == 3
    with pytest.raises(ArtefactError, match="other images"):
        store(feed(3), 3, tmp_path, PASSPORT, source="aa")


@pytest.mark.parametrize("die_at", [None, 5])
def test_a_folder_fits_when_it_is_new_or_this_very_job(tmp_path, die_at):
    folder = tmp_path / "e"
    assert fits(folder, 10, PASSPORT, "aa") and not folder.exists()
    folder.mkdir()
    assert fits(folder, 10, PASSPORT, "aa") and not os.listdir(folder)
    with contextlib.suppress(Killed):
        store(feed(10, die_at=die_at), 10, folder, PASSPORT, 4, "float16", "aa")
    before = files(folder)
    assert fits(folder, 10, PASSPORT, "aa", 4, "float16")
    for wrong in (
        (11, PASSPORT, "aa", 4, "float16"),
        (10, PASSPORT | {"model": "x"}, "aa", 4, "float16"),
        (10, PASSPORT, "bb", 4, "float16"),
        (10, PASSPORT, "aa", 5, "float16"),
        (10, PASSPORT, "aa", 4),
    ):
        assert not fits(folder, *wrong)
    assert files(folder) == before


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"passport": 3}'])
def test_a_folder_whose_plan_cannot_be_read_fits_nothing(tmp_path, content):
    (tmp_path / "store.json").write_text(content)
    assert not fits(tmp_path, 3, PASSPORT, "")
    with pytest.raises((ArtefactError, DataError), match="store.json"):
        store(feed(3), 3, tmp_path, PASSPORT)


def test_embeddings_saved_otherwise_are_not_overwritten(tmp_path):
    Embeddings(["a"], np.ones((1, 2), np.float32)).save(tmp_path)
    with pytest.raises(ArtefactError, match="another folder"):
        store(feed(3), 3, tmp_path, PASSPORT)


def test_nothing_embedded_is_told_and_the_rejects_are_written(tmp_path):
    with pytest.raises(DataError, match="none of 3 .*rejects.csv"):
        store(feed(3, bad={0, 1, 2}), 3, tmp_path, PASSPORT)
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 4


def test_an_id_that_stands_twice_is_refused_also_across_shards_and_runs(tmp_path):
    def twice(runs):
        return ([(f"p{n % 7}",), np.ones((1, 2)), []] for run in runs for n in run)

    for _ in range(2):
        with pytest.raises(DataError, match="'p0'"):
            store(twice, 9, tmp_path, {}, shard_items=3)


@pytest.mark.parametrize(
    ("total", "batches", "told"),
    [
        (3, [(["a"], np.ones((1, 2)), [])], "only 1 of 3"),
        (1, [(["a", "b"], np.ones((2, 2)), [])], "2 items came where 1"),
        (2, [(["a", "b"], np.ones((1, 2)), [])], "2 ids, 1 vectors"),
        (2, [(["a"], np.ones((1, 2)), [{"row": 7}])], "item 0"),
        (2, [(["a"], np.ones((1, 2)), [], 2)], "covers 2 items and tells of 1"),
    ],
)
def test_items_that_go_missing_are_an_error(tmp_path, total, batches, told):
    with pytest.raises(RunError, match=told):
        store(lambda runs: batches, total, tmp_path, {})


def test_impossible_settings_are_refused(tmp_path):
    for wrong in ({"dtype": "int8"}, {"shard_items": -1}):
        with pytest.raises(UsageError):
            store(feed(3), 3, tmp_path, {}, **wrong)


def test_a_full_disk_keeps_what_is_saved(tmp_path, monkeypatch):
    usual = shard_records.save_shard

    def full(folder, name, *rest):
        if name == "00001":
            raise OSError(28, "No space left on device")
        return usual(folder, name, *rest)

    monkeypatch.setattr(shard_records, "save_shard", full)
    with pytest.raises(RunError, match="No space left.*make room"):
        store(feed(12), 12, tmp_path, PASSPORT, shard_items=4)
    monkeypatch.undo()
    calls = []
    store(feed(12, calls=calls), 12, tmp_path, PASSPORT, shard_items=4)
    assert calls == [4, 8]


def hold(folder, ready):
    def batches_of(runs):
        yield ["p0.jpg"], vector(0)[None], []
        ready.set()
        signal.pause()

    store(batches_of, 2, folder, PASSPORT, shard_items=1)


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready))
    other.start()
    assert ready.wait(60)
    with pytest.raises(RunError, match=str(other.pid)):
        store(feed(2), 2, tmp_path, PASSPORT, shard_items=1)
    other.kill()
    other.join()
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == other.pid
    assert len(store(feed(2), 2, tmp_path, PASSPORT, shard_items=1)) == 2
    assert not (tmp_path / ".lock").exists()


def test_a_lock_left_by_a_dead_process_of_any_host_is_taken_over(tmp_path):
    (tmp_path / ".lock").write_text(json.dumps({"pid": 999_999_999, "host": "elsewhere"}))
    assert len(store(feed(5), 5, tmp_path, PASSPORT)) == 5


def test_one_process_does_not_write_twice_at_once(tmp_path):
    def nested(runs):
        with pytest.raises(RunError, match="this process"):
            store(feed(2), 2, tmp_path, PASSPORT)
        return feed(2)(runs)

    assert len(store(nested, 2, tmp_path, PASSPORT)) == 2
    assert os.listdir(tmp_path).count(".lock") == 0


def test_F47_a_second_writer_is_refused_and_removes_nothing(tmp_path):
    store(feed(9), 9, tmp_path / "e", PASSPORT)
    before = files(tmp_path / "e")
    other = {**PASSPORT, "model": "other"}
    with hold_folder(tmp_path / "e"):
        for write in (store, store_anew):
            with pytest.raises(RunError, match="already writing here"):
                write(feed(9), 9, tmp_path / "e", other)
        there = files(tmp_path / "e")
        assert {name: there[name] for name in before} == before
    found = store_anew(feed(9), 9, tmp_path / "e", other)
    assert found.provenance["model"] == "other"
    found.verify(tmp_path / "e")


def test_F47_what_is_made_anew_is_what_a_new_folder_holds(tmp_path):
    store(feed(40), 40, tmp_path / "e", PASSPORT, shard_items=8)
    (tmp_path / "e" / ".00001.json.tmp-99").write_bytes(b"left by a killed writer")
    other = {**PASSPORT, "model": "other"}
    with pytest.raises(ArtefactError, match="holds other embeddings"):
        store(feed(9), 9, tmp_path / "e", other)
    store_anew(feed(9), 9, tmp_path / "e", other)
    store_anew(feed(9), 9, tmp_path / "new", other)
    assert files(tmp_path / "e") == files(tmp_path / "new")
    calls = []
    store_anew(feed(9, calls=calls), 9, tmp_path / "e", other)
    assert calls == []


def test_F47_a_file_of_somebody_else_is_not_lost(tmp_path):
    store(feed(9), 9, tmp_path / "e", PASSPORT)
    (tmp_path / "e" / "thesis.txt").write_text("x")
    before = files(tmp_path / "e")
    with pytest.raises(UsageError, match="'thesis.txt', which is none of theirs"):
        store_anew(feed(9), 9, tmp_path / "e", {**PASSPORT, "model": "other"})
    assert files(tmp_path / "e") == before


@pytest.mark.parametrize("die_at", range(8))
def test_F47_killed_at_any_removal_it_is_no_embeddings_folder_and_is_made_when_run_again(
    tmp_path, monkeypatch, die_at
):
    store(feed(9), 9, tmp_path / "e", PASSPORT, shard_items=4)
    other = {**PASSPORT, "model": "other"}
    count, real = [], pathlib.Path.unlink

    def unlink(path, missing_ok=False):
        if path.parent == tmp_path / "e" and not path.name.startswith("."):
            if len(count) == die_at:
                raise Killed
            count.append(path.name)
        real(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "unlink", unlink)
        with contextlib.suppress(Killed):
            store_anew(feed(9), 9, tmp_path / "e", other)
    if die_at:
        assert count[0] == "manifest.json"
        with pytest.raises(DataError):
            Embeddings.load(tmp_path / "e")
    store_anew(feed(9), 9, tmp_path / "e", other)
    store_anew(feed(9), 9, tmp_path / "new", other)
    assert files(tmp_path / "e") == files(tmp_path / "new")


def test_F47_shards_whose_job_is_unknown_are_taken_for_nobodys(tmp_path):
    store(feed(9), 9, tmp_path / "e", PASSPORT)
    for name in ("manifest.json", "store.json"):
        (tmp_path / "e" / name).unlink()
    assert not fits(tmp_path / "e", 9, PASSPORT, "")
    with pytest.raises(ArtefactError, match="shards of an unknown job"):
        store(feed(9), 9, tmp_path / "e", {**PASSPORT, "model": "other"})
    store_anew(feed(9), 9, tmp_path / "e", {**PASSPORT, "model": "other"}).verify(tmp_path / "e")


def test_what_the_writer_has_compared_is_not_hashed_again_by_its_reader(tmp_path, monkeypatch):
    store(feed(20), 20, tmp_path, PASSPORT, shard_items=10)
    monkeypatch.setattr(known_digests, "SETTLED", -1e9)
    hashed, real = [], known_digests.sha256
    monkeypatch.setattr(known_digests, "sha256", lambda path: hashed.append(path) or real(path))
    again = store(feed(20), 20, tmp_path, PASSPORT, shard_items=10)
    np.testing.assert_array_equal(again.vectors[:], [vector(item) for item in range(20)])
    assert len(hashed) == 2  # vectors of two shards
