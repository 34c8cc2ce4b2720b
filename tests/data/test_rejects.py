"""Laws of the list of rejects."""

import csv
import fcntl
import multiprocessing
import os
import threading

import pytest

from disk_faults import KINDS, each_stop
from fastseek.data.images import BadImage
from fastseek.data.rejects import COLUMNS, RejectLog, append, reject
from fastseek.errors import DataError
from fastseek.io.csv_rows import unguard_cell


def entry(path, row=0, phase="train"):
    return reject(str(path), row, phase, BadImage("EMPTY", "has 0 bytes"))


def read(file):
    with open(file, newline="", encoding="utf-8", errors="surrogateescape") as table:
        return list(csv.DictReader(table))


def write_many(file, first):
    for number in range(first, first + 40):
        append(file, [entry(f"/photos/{number}.jpg", number)])


def test_every_image_stands_there_once_whoever_writes(tmp_path):
    file = tmp_path / "out" / "rejects.csv"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(file, first)) for first in (0, 20, 0, 30)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    rows = read(file)
    assert sorted(int(row["row"]) for row in rows) == list(range(70))
    assert tuple(rows[0]) == COLUMNS and all(None not in row.values() for row in rows)


def test_a_writer_waits_for_the_one_before(tmp_path):
    append(tmp_path / "x.csv", [entry("a.jpg")])
    with open(tmp_path / "x.csv") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer = threading.Thread(target=append, args=(tmp_path / "x.csv", [entry("b.jpg")]))
        writer.start()
        writer.join(0.3)
        assert writer.is_alive() and len(read(tmp_path / "x.csv")) == 1
    writer.join(20)
    assert len(read(tmp_path / "x.csv")) == 2


def test_F66_a_name_that_a_spreadsheet_would_compute_is_guarded_and_known_again(tmp_path):
    file = tmp_path / "x.csv"
    for _ in range(2):
        append(file, [entry("=1+1.jpg"), entry("@a.jpg"), entry("'=b.jpg"), entry("-c.jpg")])
    assert [row["path"] for row in read(file)] == ["'=1+1.jpg", "'@a.jpg", "''=b.jpg", "'-c.jpg"]


def test_the_same_image_may_be_bad_in_two_phases(tmp_path):
    append(tmp_path / "x.csv", [entry("a.jpg"), entry("a.jpg"), entry("a.jpg", phase="extract")])
    append(tmp_path / "x.csv", [entry("a.jpg"), entry("b.jpg")])
    assert [(row["path"], row["phase"]) for row in read(tmp_path / "x.csv")] == [
        ("a.jpg", "train"),
        ("a.jpg", "extract"),
        ("b.jpg", "train"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "a,b.jpg",
        'say "x".jpg',
        "new\nline.jpg",
        "ü.jpg",
        os.fsdecode(b"\xff\xfe.jpg"),
        "=1+1.jpg",
        " spaces .jpg",
    ],
)
def test_odd_names_come_back_as_they_were(tmp_path, name):
    append(tmp_path / "x.csv", [entry(name)])
    append(tmp_path / "x.csv", [entry(name)])
    assert [unguard_cell(row["path"]) for row in read(tmp_path / "x.csv")] == [name]


def test_hash_and_size_are_of_the_file(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"abc")
    told = entry(tmp_path / "x.jpg", 5)
    assert told["bytes"] == 3 and told["row"] == 5 and told["detail"] == "has 0 bytes"
    assert told["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (entry(tmp_path / "gone.jpg")["sha256"], entry(tmp_path / "gone.jpg")["bytes"]) == (
        "",
        0,
    )


def test_a_fifo_is_not_opened_for_its_hash(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert entry(tmp_path / "pipe.jpg")["sha256"] == ""


def test_the_budget_counts_images_and_not_how_often_they_come(tmp_path):
    log = RejectLog(tmp_path / "x.csv", budget=2)
    for _ in range(5):
        log.add([entry("a.jpg"), entry("b.jpg")])
    with pytest.raises(DataError, match="3 images cannot be used, more than the 2 allowed"):
        log.add([entry("c.jpg")])
    assert [row["path"] for row in read(tmp_path / "x.csv")] == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_resumed_run_names_nothing_twice(tmp_path):
    for _ in range(2):
        RejectLog(tmp_path / "x.csv", budget=9).add([entry("a.jpg")])
    assert len(read(tmp_path / "x.csv")) == 1


ODD = ["a.jpg", '"quoted" and long\nof two lines.jpg', "z\r\n.jpg"]


def test_a_table_cut_at_any_byte_is_whole_again_with_the_next_rejects(tmp_path):
    file = tmp_path / "rejects.csv"
    append(file, [entry(path) for path in ODD])
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        append(file, [entry(path) for path in ODD])
        assert file.read_bytes() == whole, length


@pytest.mark.parametrize("kind", KINDS)
def test_rejects_that_were_told_stay_told_whatever_fails(tmp_path, kind):
    before = tmp_path / "start" / "rejects.csv"
    append(before, [entry("0.jpg")])

    def work(home):
        append(home / "rejects.csv", [entry("1.jpg"), entry("2, and long.jpg")])

    paths = ["0.jpg", "1.jpg", "2, and long.jpg"]
    for stop in each_stop(tmp_path / "start", work, kind):
        file = stop.folder / "rejects.csv"
        assert file.read_bytes().startswith(before.read_bytes()), stop.where
        assert stop.error or len(read(file)) == 3, stop.where
        work(stop.folder)
        assert [row["path"] for row in read(file)] == paths, stop.where
        assert all(None not in row.values() for row in read(file)), stop.where
