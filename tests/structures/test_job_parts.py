"""A job done by several processes that share nothing but a folder ends in the bytes of one."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import DataError, RunError, UsageError
from fastseek.io.locks import hold_folder
from fastseek.structures import Embeddings, embedding_job, embeddings
from fastseek.structures.embedding_job import EmbeddingJob
from fastseek.structures.embeddings_writer import store, store_part
from fastseek.structures.job_part import JobPart, local_number, part_of_environment

TOTAL, BAD = 50, {3, 24, 25, 26, 27, 49}
JOB = EmbeddingJob(TOTAL, {"model": "abc"}, "aa", shard_items=12)


class Killed(BaseException):
    """What a signal looks like from inside."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(embedding_job, "PIECE_ITEMS", 5)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a killed process is no lost power


def feed(runs, batch=4, pause=0.0, die_at=None):
    for run in runs:
        for first in range(run.start, run.stop, batch):
            rows = range(first, min(first + batch, run.stop))
            time.sleep(pause)
            if die_at in rows:
                raise Killed
            good = [row for row in rows if row not in BAD]
            vectors = [np.random.default_rng(row).normal(size=3) for row in good]
            rejects = [
                {"path": f"{row}", "row": row, "code": "TRUNCATED"} for row in rows if row in BAD
            ]
            yield [f"{row}.jpg" for row in good], np.array(vectors).reshape(-1, 3), rejects


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def whole(tmp_path):
    store(feed, JOB, tmp_path / "whole")
    return contents(tmp_path / "whole")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_number_of_parts_in_any_order_gives_the_bytes_of_one(tmp_path, whole, count):
    numbers = list(range(count))
    random.Random(count).shuffle(numbers)
    found = [store_part(feed, JOB, tmp_path / "e", JobPart(number, count)) for number in numbers]
    # A part without shards may well end last; whoever sees that all is there writes the manifest.
    assert isinstance(found[-1], Embeddings) and contents(tmp_path / "e") == whole
    assert len(found[-1]) == TOTAL - len(BAD)
    assert (tmp_path / "e" / "rejects.csv").read_text().count("TRUNCATED") == len(BAD)


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 80)), min_size=1, max_size=4
    )
)
def test_parts_killed_anywhere_and_divided_otherwise_end_in_the_same_bytes(tmp_path_factory, tries):
    home = tmp_path_factory.mktemp("parts")
    store(feed, JOB, home / "whole")
    for count, number, die_at in tries:
        with contextlib.suppress(Killed):
            part = JobPart(number % count, count)
            store_part(lambda runs, at=die_at: feed(runs, 3, die_at=at), JOB, home / "e", part)
    store(feed, JOB, home / "e")
    assert contents(home / "e") == contents(home / "whole")


def work(folder, part, pause):
    embedding_job.PIECE_ITEMS = 5
    store_part(lambda runs: feed(runs, 4, pause), JOB, folder, part)


def start(folder, part, pause=0.004):
    process = multiprocessing.get_context("fork").Process(target=work, args=(folder, part, pause))
    process.start()
    return process


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_killed_at_random_end_in_the_same_bytes(tmp_path, whole, count):
    chance = random.Random(count)
    for _ in range(2):
        folder = tmp_path / "e"
        running = [start(folder, JobPart(number, count)) for number in range(count)]
        time.sleep(chance.uniform(0, 0.08))
        for process in running:
            if chance.random() < 0.7:
                os.kill(process.pid, signal.SIGKILL)
        for process in running:
            process.join()
        last = [start(folder, JobPart(number, count), 0) for number in range(count)]
        for process in last:
            process.join()
        assert [process.exitcode for process in last] == [0] * count
        assert contents(folder) == whole
        shutil.rmtree(folder)


def test_a_second_process_of_the_same_part_and_another_division_are_refused(tmp_path):
    def nested(runs):
        for part, told in (
            (JobPart(1, 3), "part 1/3: this process is already writing here"),
            (JobPart(0, 2), "other processes are writing here .*part-1-of-3"),
            (JobPart(), "other processes are writing here .*part-1-of-3"),
        ):
            with pytest.raises(RunError, match=told):
                store_part(feed, JOB, tmp_path, part)
        assert store_part(feed, JOB, tmp_path, JobPart(0, 3)) is None
        return feed(runs)

    store_part(nested, JOB, tmp_path, JobPart(1, 3))
    with hold_folder(tmp_path), pytest.raises(RunError, match="other processes"):
        store_part(feed, JOB, tmp_path, JobPart(2, 3))
    assert store_part(feed, JOB, tmp_path, JobPart(2, 3)) is not None


def test_what_other_parts_are_writing_is_not_replaced(tmp_path):
    other = EmbeddingJob(TOTAL, {"model": "other"}, "aa", shard_items=12)

    def nested(runs):
        for part in (JobPart(1, 2), JobPart()):
            with pytest.raises(RunError, match="other processes are writing here"):
                store_part(feed, other, tmp_path, part, replace=True)
        return feed(runs)

    store_part(nested, JOB, tmp_path, JobPart(0, 2))
    assert store_part(feed, other, tmp_path, JobPart(1, 2), replace=True) is None
    found = store_part(feed, other, tmp_path, JobPart(0, 2), replace=True)
    assert found.provenance["model"] == "other"


def test_the_lock_of_a_dead_part_goes_when_the_job_is_done(tmp_path):
    for name in (".part-1-of-2.lock", ".part-4-of-5.lock"):
        (tmp_path / name).write_text('{"pid": 999999999, "host": "elsewhere"}')
    for number in range(2):
        store_part(feed, JOB, tmp_path, JobPart(number, 2))
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_damaged_shard_is_made_again_by_the_part_it_belongs_to(tmp_path, whole):
    folder = tmp_path / "whole"
    file = folder / "00001.vectors.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    rows = []

    def told(runs):
        rows.extend(row for run in runs for row in run)
        return feed(runs)

    store_part(told, JOB, folder, JobPart(1, 2))
    assert rows == list(range(12, 24)) and contents(folder) == whole


def test_vectors_that_went_missing_or_short_are_missing_to_every_part(tmp_path, whole):
    folder = tmp_path / "whole"
    file = folder / "00001.vectors.npy"
    for damage in (file.unlink, lambda: os.truncate(file, file.stat().st_size - 1)):
        damage()
        (folder / "manifest.json").unlink(missing_ok=True)
        assert store_part(feed, JOB, folder, JobPart(0, 2)) is None
        assert embedding_job.count_missing(folder) == (1, 5)
        assert not (folder / "manifest.json").exists()
        assert store_part(feed, JOB, folder, JobPart(1, 2)) is not None
        assert contents(folder) == whole


def test_who_ends_first_leaves_the_pieces_of_a_part_at_work(tmp_path, whole):
    folder = tmp_path / "whole"
    (folder / "manifest.json").unlink()
    file = folder / "00001.vectors.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")  # as long as it was

    def interrupted(runs):
        for number, batch in enumerate(feed(runs)):
            if number == 4:  # two of three pieces are written
                assert store_part(feed, JOB, folder, JobPart(0, 2)) is not None
                assert (folder / "00001-0000.json").exists()
            yield batch

    assert store_part(interrupted, JOB, folder, JobPart(1, 2)) is not None
    assert contents(folder) == whole


def test_what_killed_processes_left_goes_when_nobody_else_is_at_work(tmp_path, whole):
    folder = tmp_path / "whole"
    left = [".ids.safetensors.tmp-999999", ".00001.json.tmp-999999-2", "00001-0000.vectors.npy"]
    for name in [*left, ".mine.txt.tmp-999999"]:
        (folder / name).write_bytes(b"half")
    with hold_folder(folder, JobPart(1, 2).lock):
        store_part(feed, JOB, folder, JobPart(0, 2))
        assert set(left) <= set(os.listdir(folder))
    store_part(feed, JOB, folder, JobPart(0, 2))
    assert contents(folder) == {**whole, ".mine.txt.tmp-999999": b"half"}


def test_an_id_that_stands_in_two_parts_is_refused_when_all_are_there(tmp_path):
    def twice(runs):
        return ([(f"{row % 40}",), np.ones((1, 2)), []] for run in runs for row in run)

    assert store_part(twice, JOB, tmp_path, JobPart(0, 2)) is None
    for number in (1, 0):
        with pytest.raises(DataError, match="images: id '0' stands 2 times"):
            store_part(twice, JOB, tmp_path, JobPart(number, 2))
    assert not (tmp_path / "manifest.json").exists()


def test_shards_hold_every_item_once_and_grow_by_their_bytes(monkeypatch):
    monkeypatch.undo()
    for total in (0, 1, 255, 256, 300, 17_000, 100_000, 3_000_000, 10**8):
        for dim in (0, 8, 512, 200_000):
            job = EmbeddingJob(total, {}, dim=dim)
            row = 4 * (dim or 1024)
            assert job.size * row <= embeddings.SHARD_BYTES or job.size == 64
            assert job.shards * job.size >= total > (job.shards - 1) * job.size or total == 0
            if total > 64 * 64 and dim < 1000:
                assert job.shards >= 32 and job.size % 64 == 0
    job = EmbeddingJob(1000, {}, shard_items=12)
    items = [row for number in range(job.shards) for one in job.pieces(number) for row in one.items]
    assert items == list(range(1000))


def test_a_job_begun_in_other_shards_goes_on_in_them(tmp_path):
    plain = EmbeddingJob(TOTAL, {"model": "abc"}, "aa")
    with pytest.raises(Killed):
        store(lambda runs: feed(runs, die_at=30), JOB, tmp_path / "e")
    store(feed, plain, tmp_path / "e")
    store(feed, JOB, tmp_path / "twin")
    assert contents(tmp_path / "e") == contents(tmp_path / "twin")


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        ({}, None),
        ({"RANK": "3", "WORLD_SIZE": "8"}, "3/8"),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "0/1"),
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4"}, "2/4"),
        (
            {
                "SLURM_ARRAY_TASK_ID": "14",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "2",
            },
            "2/4",
        ),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, "5/8"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}, None),
        (
            {
                "SLURM_PROCID": "1",
                "SLURM_NTASKS": "8",
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_JOB_ID": "7",
                "SLURM_STEP_ID": "0",
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            "7/8",
        ),
    ],
)
def test_a_launcher_names_the_part(environ, part):
    found = part_of_environment(environ)
    assert (found and str(found)) == part


def test_every_process_of_an_array_of_several_tasks_has_a_part_of_its_own():
    found = {
        part_of_environment(
            {
                "SLURM_ARRAY_TASK_ID": f"{task}",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_PROCID": f"{process}",
                "SLURM_NTASKS": "4",
            }
        )
        for task in (1, 2, 3)
        for process in range(4)
    }
    assert found == {JobPart(number, 12) for number in range(12)}
    assert local_number({"LOCAL_RANK": "2", "SLURM_LOCALID": "1"}) == 2
    assert (local_number({"SLURM_LOCALID": "1"}), local_number({})) == (1, 0)


@pytest.mark.parametrize("text", ["8/8", "1", "1/0", "-1/2", "a/b", "1/2/3", "", "0/-1"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="part"):
        JobPart.parse(text)
    with pytest.raises(UsageError, match="WORLD_SIZE=x"):
        part_of_environment({"RANK": "0", "WORLD_SIZE": "x"})


@pytest.mark.parametrize(
    ("tasks", "step"), [((0, 3, 7), 1), ((0, 1, 3), 1), ((1, 2, 4, 8), 1), ((0, 3, 6, 7), 3)]
)
def test_no_task_of_an_array_with_gaps_goes_to_work(tasks, step):
    for task in tasks:
        environ = {
            "SLURM_ARRAY_TASK_ID": f"{task}",
            "SLURM_ARRAY_TASK_COUNT": f"{len(tasks)}",
            "SLURM_ARRAY_TASK_MIN": f"{tasks[0]}",
            "SLURM_ARRAY_TASK_MAX": f"{tasks[-1]}",
            "SLURM_ARRAY_TASK_STEP": f"{step}",
        }
        with pytest.raises(UsageError, match=f"submit --array=0-{len(tasks) - 1}, .*--part i/n"):
            part_of_environment(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"RANK": "1"},
        {"WORLD_SIZE": "2"},
        {"SLURM_ARRAY_TASK_ID": "7"},
        {"SLURM_ARRAY_TASK_COUNT": "8"},
        {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "3"},
    ],
)
def test_a_process_that_does_not_know_of_how_many_it_is_one_does_not_do_everything(environ):
    with pytest.raises(UsageError, match="--part"):
        part_of_environment(environ)


@pytest.mark.parametrize("last", [9, 10])
def test_an_array_in_steps_has_every_part_once(last):
    found = [
        part_of_environment(
            {
                "SLURM_ARRAY_TASK_ID": f"{task}",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_ARRAY_TASK_MAX": f"{last}",
                "SLURM_ARRAY_TASK_STEP": "3",
            }
        )
        for task in (0, 3, 6, 9)
    ]
    assert found == [JobPart(number, 4) for number in range(4)]
