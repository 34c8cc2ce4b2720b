"""From one model to another: beside, compared, switched in one step, and back."""

import contextlib
import shutil

import numpy as np
import pytest
from twin import draw

from disk_faults import KINDS, each_stop
from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.index import Index, folder_index, manifest, migration
from fastseek.index.migration import (
    NewModel,
    compare_answers,
    migrate,
    plan_migration,
    roll_back,
)
from fastseek.structures import Embeddings

OLD, NEW = {"model": "m1", "name": "one"}, {"model": "m2", "name": "two"}
NAMES = [f"p{number}" for number in range(12)]


def new_vector(name, dim=4):
    return draw(1, dim, seed=int(name[1:]) + 1000)[0]


def make_model(provenance=NEW, lost=(), calls=None, batch=5):
    def embed(ids, paths):
        if calls is not None:
            calls.extend(ids)
        for start in range(0, len(ids), batch):
            names = [name for name in ids[start : start + batch] if name not in lost]
            if names:
                yield names, np.stack([new_vector(name) for name in names])

    return NewModel(4, provenance, embed)


@pytest.fixture
def index(tmp_path):
    made = Index.create(tmp_path / "i")
    metadata = {"price": list(range(12)), "content": [f"h{n}" for n in range(12)]}
    made.add(NAMES, draw(12), metadata, OLD)
    return made


def assert_new(folder, names):
    index = Index.open(folder)
    assert index.check() == [] and index.ids.tolist() == sorted(names)
    assert index.provenance["model"] == "m2" and index.dim == 4
    expected = np.stack([new_vector(name) for name in sorted(names)])
    np.testing.assert_array_equal(index.vectors(sorted(names)).vectors, expected)


def test_the_root_of_the_ids_outlives_a_migration_in_many_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(migration, "CHUNK", 5)
    index = Index.create(tmp_path / "i")
    index.add(NAMES, draw(12), provenance={**OLD, "root": "/images"})
    migrate(index.folder, make_model())
    assert Index.open(index.folder).provenance["root"] == "/images"


def test_the_new_vectors_take_the_place_of_the_old_with_their_metadata(index):
    compared = migrate(index.folder, make_model())
    assert compared.k == 10 and compared.queries == 12 and 0 <= compared.overlap <= 1
    assert_new(index.folder, NAMES)
    now = Index.open(index.folder)
    assert now.metadata(["p3"]) == {"price": [3], "content": ["h3"]}
    with pytest.raises(ArtefactError, match="8 dimensions|6 dimensions"):
        now.search(draw(1))
    with pytest.raises(UsageError, match="are of this model already"):
        migrate(index.folder, make_model())


def test_a_reader_keeps_the_old_model_until_it_asks_for_the_new_state(index):
    migrate(index.folder, make_model())
    assert index.search(draw(1), 3).provenance["gallery"]["model"] == "m1"
    with pytest.raises(ArtefactError, match="have 6 dimensions"):
        index.add(["new"], draw(1), provenance=OLD)
    index.refresh()
    assert index.provenance["model"] == "m2"


def test_it_goes_back_and_forth(index):
    with pytest.raises(UsageError, match="nothing to go back to"):
        roll_back(index.folder)
    migrate(index.folder, make_model())
    assert roll_back(index.folder) == 12
    back = Index.open(index.folder)
    assert back.provenance["model"] == "m1" and back.check() == []
    np.testing.assert_array_equal(back.vectors(NAMES).vectors, draw(12))
    roll_back(index.folder)
    assert_new(index.folder, NAMES)


def test_it_does_not_go_back_over_later_changes_unless_told_to(index):
    migrate(index.folder, make_model())
    now = Index.open(index.folder)
    now.add(["p50"], new_vector("p50")[None], provenance=NEW)
    now.delete(["p1", "p2"])
    with pytest.raises(ArtefactError, match="1 images were added and 2 deleted"):
        roll_back(index.folder)
    assert roll_back(index.folder, force=True) == 12


def test_it_does_not_go_back_over_images_that_were_replaced_unless_told_to(index):
    migrate(index.folder, make_model())
    now = Index.open(index.folder)
    now.compact()
    roll_back(index.folder)
    roll_back(index.folder)
    now.refresh()
    now.upsert(["p0"], new_vector("p50")[None], {"content": ["other"]}, NEW)
    with pytest.raises(ArtefactError, match="images were replaced, or given other metadata"):
        roll_back(index.folder)
    assert roll_back(index.folder, force=True) == 12
    Index.open(index.folder).update(["p1"], {"price": [99]})
    with pytest.raises(ArtefactError, match="images were replaced, or given other metadata"):
        roll_back(index.folder)


def test_metadata_that_was_cleared_during_a_migration_stays_so(index):
    index.update(["p0"], {"shop": ["north"]})
    migrate(index.folder, make_model(), switch=False)
    index.refresh()
    index.update(["p0"], {"price": [None], "shop": [None]})
    vectors = index.vectors(["p1"]).vectors
    index.upsert(["p1"], vectors, {"price": [None], "content": ["other"]}, OLD)
    migrate(index.folder, make_model())
    told = Index.open(index.folder).metadata(["p0", "p1"])
    assert told == {"price": [None, None], "shop": [None, None], "content": ["h0", "other"]}


@pytest.mark.parametrize("content", ["told", ""])
def test_vectors_without_a_model_go_on_with_themselves_only(index, content):
    def make_stored(vectors, calls):
        def embed(ids, paths):
            calls.extend(ids)
            yield ids, vectors[: len(ids)]

        told = migration.digest_vectors(Embeddings(NAMES, vectors)) if content else ""
        return NewModel(4, {}, embed, told)

    calls = []
    migrate(index.folder, make_stored(draw(12, 4), calls), switch=False)
    migrate(index.folder, make_stored(draw(12, 4), calls), switch=False)
    assert len(calls) == (12 if content else 24)
    migrate(index.folder, make_stored(draw(12, 4, seed=1), calls))
    stored = Index.open(index.folder).vectors(Index.open(index.folder).ids).vectors
    np.testing.assert_array_equal(stored, draw(12, 4, seed=1))


def test_the_overlap_is_that_of_the_answers(index, tmp_path):
    assert compare_answers(index, index).overlap == 1.0
    other = Index.create(tmp_path / "other")
    vectors = draw(12)
    vectors[:6] = draw(6, seed=8)
    other.add(NAMES, vectors)
    expected = []
    for name in NAMES:
        near = []
        for one in (index, other):
            ranking = one.search(one.vectors([name]).vectors, 4)
            near.append([n for n in ranking.gallery_ids[ranking.indices[0]] if n != name][:3])
        expected.append(len(set(near[0]) & set(near[1])) / 3)
    found = compare_answers(index, other, k=3)
    assert found.overlap == pytest.approx(np.mean(expected), abs=1e-4) and found.queries == 12


def test_built_but_not_switched_it_goes_on_and_catches_up_with_changes(index):
    calls = []
    migrate(index.folder, make_model(calls=calls), switch=False)
    assert Index.open(index.folder).provenance["model"] == "m1" and sorted(calls) == sorted(NAMES)
    index.delete(["p0", "p1"])
    index.add(["p20"], draw(1), {"price": [20], "content": ["h20"]}, OLD)
    index.upsert(["p5"], draw(1), {"content": ["other"]}, OLD)
    index.update(["p6"], {"price": [66]})
    calls.clear()
    told = plan_migration(index.folder, make_model())
    assert told == (11, 9, 11)
    migrate(index.folder, make_model(calls=calls))
    assert sorted(calls) == ["p20", "p5"]
    assert_new(index.folder, [*NAMES[2:], "p20"])
    assert Index.open(index.folder).metadata(["p6"])["price"] == [66]


def test_images_that_cannot_be_embedded_stop_the_switch_and_keep_the_rest(index):
    with pytest.raises(DataError, match="2 images cannot be embedded anew, such as 'p3'"):
        migrate(index.folder, make_model(lost=("p3", "p7")))
    assert Index.open(index.folder).provenance["model"] == "m1"
    index.delete(["p3"])
    calls = []
    migrate(index.folder, make_model(calls=calls))
    assert calls == ["p7"]
    assert_new(index.folder, [name for name in NAMES if name != "p3"])


def test_a_third_model_starts_anew_and_leaves_no_line_behind(index):
    migrate(index.folder, make_model({"model": "m9"}), switch=False)
    migrate(index.folder, make_model())
    assert_new(index.folder, NAMES)
    lines = {path.name for path in index.folder.iterdir() if path.is_dir()}
    pointer = manifest.read_pointer(index.folder)
    assert lines == {pointer.current, pointer.previous}


@pytest.mark.parametrize("lost", [(), ("p3",)])
def test_a_migration_that_does_not_switch_keeps_the_way_back(index, lost):
    before = index.vectors(NAMES).vectors.copy()
    migrate(index.folder, make_model())
    third = make_model({"model": "m3"}, lost)
    with pytest.raises(DataError) if lost else contextlib.nullcontext():
        migrate(index.folder, third, switch=False)
    roll_back(index.folder)
    np.testing.assert_array_equal(Index.open(index.folder).vectors(NAMES).vectors, before)


def test_vectors_that_tell_no_model_are_not_migrated_to_themselves(index):
    before = index.vectors(NAMES).vectors.copy()
    made = make_model({})
    bare = NewModel(made.dim, made.provenance, made.embed, "c1")
    migrate(index.folder, bare)
    with pytest.raises(UsageError, match="already"):
        migrate(index.folder, bare)
    roll_back(index.folder)
    np.testing.assert_array_equal(Index.open(index.folder).vectors(NAMES).vectors, before)
    migrate(index.folder, bare)


def test_a_line_is_given_no_number_twice(index):
    seen = []
    for model in ("m2", "m3", "m4", "m5"):
        migrate(index.folder, make_model({"model": model}), switch=model != "m4")
        pointer = manifest.read_pointer(index.folder)
        seen.append(pointer.upcoming or pointer.current)
        if model == "m3":
            roll_back(index.folder)
    assert seen == ["2", "3", "4", "5"]


def test_while_one_migration_is_at_work_another_one_is_refused(index, monkeypatch):
    told = []

    def compare(*args):
        for model in ({"model": "m9"}, NEW):
            with pytest.raises(RunError, match="already writing here") as error:
                migrate(index.folder, make_model(model))
            told.append(error)
        return compare_answers(*args)

    monkeypatch.setattr(migration, "compare_answers", compare)
    migrate(index.folder, make_model())
    assert len(told) == 2
    assert_new(index.folder, NAMES)
    pointer = manifest.read_pointer(index.folder)
    assert (pointer.current, pointer.previous) == ("2", "1") and roll_back(index.folder) == 12


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks."""
    for module in (migration, folder_index):
        monkeypatch.setattr(module, "hold_folder", lambda folder: contextlib.nullcontext())


def test_a_migration_that_was_overtaken_by_another_one_does_not_switch(
    index, no_locks, monkeypatch
):
    def overtake(*args):
        monkeypatch.setattr(migration, "compare_answers", compare_answers)
        migrate(index.folder, make_model({"model": "m9"}), switch=False)
        return compare_answers(*args)

    monkeypatch.setattr(migration, "compare_answers", overtake)
    with pytest.raises(RunError, match="another migration was begun meanwhile"):
        migrate(index.folder, make_model())
    here = Index.open(index.folder)
    assert len(here) == 12 and here.provenance["model"] == "m1"
    migrate(index.folder, make_model())
    assert_new(index.folder, NAMES)


def test_the_same_migration_run_twice_at_once_switches_once_and_goes_back(
    index, no_locks, monkeypatch
):
    def overtake(*args):
        monkeypatch.setattr(migration, "compare_answers", compare_answers)
        migrate(index.folder, make_model())
        return compare_answers(*args)

    monkeypatch.setattr(migration, "compare_answers", overtake)
    migrate(index.folder, make_model())
    assert_new(index.folder, NAMES)
    assert roll_back(index.folder) == 12
    assert Index.open(index.folder).provenance["model"] == "m1"


def test_a_reader_that_slept_through_two_migrations_takes_no_segment_of_the_one_between(index):
    migrate(index.folder, make_model({"model": "m9"}))
    reader = Index.open(index.folder)
    before = manifest.read_pointer(index.folder)
    roll_back(index.folder)
    # As a version before this one gave numbers.
    manifest.write_pointer(index.folder, manifest.Pointer(current="1"))
    shutil.rmtree(index.folder / before.current)
    migrate(
        index.folder,
        NewModel(4, {"model": "m3"}, lambda ids, paths: [(ids, draw(len(ids), 4))]),
    )
    assert manifest.read_pointer(index.folder).current == before.current
    reader.refresh()
    expected = Index.open(index.folder).vectors(NAMES).vectors
    np.testing.assert_array_equal(reader.vectors(NAMES).vectors, expected)


def test_files_are_looked_for_where_they_were_and_below_the_root(tmp_path):
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "p1").write_bytes(b"x")
    (tmp_path / "p0").write_bytes(b"x")
    index = Index.create(tmp_path / "i")
    paths = [str(tmp_path / "p0"), str(tmp_path / "old" / "p1"), None]
    index.add(NAMES[:3], draw(3), {"path": paths}, OLD)
    assert plan_migration(index.folder, make_model()) == (3, 0, 2)
    assert plan_migration(index.folder, make_model(), tmp_path / "moved") == (3, 0, 1)
    with pytest.raises(UsageError, match="already"):
        plan_migration(index.folder, NewModel(6, OLD, make_model().embed))


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_at_any_write_it_is_the_old_or_the_new_and_goes_on(index, monkeypatch, kind):
    monkeypatch.setattr(migration, "CHUNK", 8)
    monkeypatch.setattr(manifest, "GRACE", 0.0)
    states = set()
    for stop in each_stop(index.folder, lambda folder: migrate(folder, make_model()), kind, 3):
        here = Index.open(stop.folder)
        assert here.check() == [] and here.ids.tolist() == sorted(NAMES), stop.where
        model = here.provenance["model"]
        states.add(model)
        if model == "m1":
            np.testing.assert_array_equal(here.vectors(NAMES).vectors, draw(12))
            calls = []
            migrate(stop.folder, make_model(calls=calls))
            assert len(calls) <= 12, stop.where
        assert_new(stop.folder, NAMES)
        assert roll_back(stop.folder) == 12
    assert states == {"m1", "m2"}
