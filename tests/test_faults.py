"""Whatever fails or dies while a file is written, the old content is there or the new, whole, and
whoever writes next goes on and clears up.
"""

import itertools
import os
from types import SimpleNamespace

import numpy as np
import pytest

from disk_faults import KINDS, each_stop, names
from fastseek.enhance._fits import Fit
from fastseek.errors import ArtefactError, DataError
from fastseek.io.json_files import write_json
from fastseek.io.locks import hold_folder, take_turn
from fastseek.io.stage_record import StageRecord
from fastseek.report.results import write_results
from fastseek.structures import Embeddings, Ranking
from fastseek.structures.embedding_job import EmbeddingJob
from fastseek.structures.embeddings_writer import store
from fastseek.structures.item_table import ItemTable, Kind
from fastseek.training import results
from fastseek.training.class_index import write_classes


@pytest.fixture(autouse=True)
def _nothing_waits_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


kinds = pytest.mark.parametrize("kind", KINDS)


def ranking(version):
    scores = [[version + 1.0, version]]
    return Ranking(["q"], ["a", "b"], [[1, 0]], scores, {"search": f"exact({version})"})


def write_report(path, version):
    rows = [{"name": "after training", "metrics": {"map": float(version)}}]
    write_results(path, rows, "", version)


def write_run(path, version):
    results.write(path.parent, "r.yml", version, {"map": float(version), "metric": 1.0})


def write_class_file(path, version):
    write_classes(path, SimpleNamespace(classes=["a", "b"], counts=[version, 2]))


def fit(kind, **arrays):
    def write(path, version):
        given = {name: np.full(shape, version, np.float32) for name, shape in arrays.items()}
        Fit(kind, given, {"rows": version, "source": {}}).save(path)

    return write


FILES = {
    "ranking.npz": lambda path, version: ranking(version).save(path),
    "ranking.csv": lambda path, version: ranking(version).to_csv(path),
    "ranking.json": lambda path, version: ranking(version).to_json(path),
    "table.json": lambda path, version: write_json(path, {"version": version}),
    "rows/results.json": write_report,
    "run/results.json": write_run,
    "classes.json": write_class_file,
    "pca.safetensors": fit("pca", mean=3, directions=(3, 3), variances=3),
    "adapter.safetensors": fit("adapter", mean=3, directions=(2, 3), blend=1),
}


@kinds
@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_old_one_or_the_new_one_whatever_fails(tmp_path, name, there, kind):
    write, versions = FILES[name], []
    for version in range(3):
        write(tmp_path / "expected" / str(version) / name, version)
        versions.append((tmp_path / "expected" / str(version) / name).read_bytes())
    assert len(set(versions)) == 3
    if there:
        write(tmp_path / "start" / name, 0)
    found = set()
    for stop in each_stop(tmp_path / "start", lambda home: write(home / name, 1), kind):
        path = stop.folder / name
        content = path.read_bytes() if path.exists() else None
        found.add(content)
        assert content in ((versions[0] if there else None), versions[1]), stop.where
        assert stop.error or content == versions[1], f"{stop.where}: said to be done, and is not"
        if kind == "fails":
            assert names(stop.folder) <= {name}, stop.where
        write(path, 2)
        assert path.read_bytes() == versions[2] and names(stop.folder) == {name}, stop.where
    assert (versions[0] if there else None) in found


def make_stage(record, text):
    record.begin()
    for name in ("a.bin", "sub/b.bin"):
        write_json(record.folder / name, text)
    return record.finish([record.folder / "a.bin", record.folder / "sub/b.bin"], {"made": text})


@kinds
def test_a_stage_is_finished_with_all_its_files_or_not_at_all(tmp_path, kind):
    def record_of(home, seed):
        return StageRecord(home, {"seed": seed})

    make_stage(record_of(tmp_path / "start", 0), "old")
    states = set()
    for stop in each_stop(
        tmp_path / "start", lambda home: make_stage(record_of(home, 1), "new"), kind
    ):
        old, new = record_of(stop.folder, 0), record_of(stop.folder, 1)
        states.add((old.is_finished(), new.is_finished()))
        assert not old.is_finished() or stop.error, stop.where
        for record, text in ((old, "old"), (new, "new")):
            if record.is_finished():
                assert record.load().results == {"made": text}, stop.where
                assert (stop.folder / "a.bin").read_text() == f'"{text}"\n', stop.where
        make_stage(new, "new")
        assert new.is_finished(), stop.where
        assert names(stop.folder) == {"stage.json", "a.bin", "sub/b.bin"}, stop.where
    assert states >= {(True, False), (False, False)}


@kinds
@pytest.mark.parametrize("hold", [hold_folder, take_turn])
def test_a_folder_whose_lock_fails_or_whose_holder_dies_can_be_held_again(tmp_path, hold, kind):
    def work(home):
        with hold(home):
            write_json(home / "a.json", 1)

    for stop in each_stop(tmp_path / "start", work, kind):
        assert stop.error or (stop.folder / "a.json").exists(), stop.where
        work(stop.folder)
        assert names(stop.folder) == {"a.json"}, stop.where


def embed(home, model="new"):
    def batches_of(runs):
        for row in itertools.chain(*runs):
            yield [f"{row}.jpg"], np.full((1, 3), row + 1.0, np.float32), []

    store(batches_of, EmbeddingJob(5, {"model": model}, shard_items=2), home)


@kinds
def test_an_embedding_stopped_at_any_operation_ends_in_the_same_bytes(tmp_path, kind):
    embed(tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    for stop in each_stop(tmp_path / "start", embed, kind, every=2):
        assert stop.error or contents(stop.folder) == whole, stop.where
        if (stop.folder / "manifest.json").exists():
            Embeddings.load(stop.folder).verify(stop.folder)
        embed(stop.folder)
        assert contents(stop.folder) == whole, stop.where


def contents(folder):
    """The files of a folder; without locks the name of one may stay."""
    return {name: (folder / name).read_bytes() for name in names(folder) - {".lock", ".turn"}}


def layout(name):
    return f"{name}.jpg"


def items_of(version):
    names = np.array([f"{version}{row}" for row in range(2)], "S2")
    of = [Kind("train", "", layout)]
    codes, kinds_of = np.zeros(2, np.int32), np.zeros(2, np.uint8)
    return ItemTable(names, codes, kinds_of, [f"label {version}"], of)


@kinds
def test_a_table_of_items_is_never_of_two(tmp_path, kind):
    def found_in(folder):
        try:
            found = ItemTable.load(folder, layout)
        except (DataError, ArtefactError):
            return None
        return [(item.id, item.label) for item in found]

    items_of(0).save(tmp_path / "start")
    old, found = found_in(tmp_path / "start"), set()
    for stop in each_stop(tmp_path / "start", lambda home: items_of(1).save(home), kind):
        there = found_in(stop.folder)
        assert there is None or there == old or there[0][1] == "label 1" != old[0][1], stop.where
        assert there is None or len({one[0][:1] for one in there}) == 1, stop.where
        found.add(there and there[0])
        items_of(1).save(stop.folder)
        assert found_in(stop.folder) == [("10", "label 1"), ("11", "label 1")], stop.where
        assert len(names(stop.folder)) == 5, stop.where
    assert None in found and (kind == "full" or len(found) > 1)
