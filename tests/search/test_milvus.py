"""The database finds what the exact search finds, holds what it is told to, and refuses what does
not fit.
"""

import errno
import fcntl
import sys

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.registry import SEARCHERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

from fastseek.search._milvus_ids import check_collection  # noqa: E402
from fastseek.search._milvus_store import MilvusStore  # noqa: E402
from fastseek.search._rescoring import look_up_rows  # noqa: E402


def embeddings(vectors, prefix="", provenance=None):
    return Embeddings(
        [f"{prefix}{row:05d}" for row in range(len(vectors))],
        np.asarray(vectors, np.float32),
        provenance or {},
    )


def pair(seed=0, queries=9, gallery=80, dim=8, provenance=None):
    random = np.random.default_rng(seed)
    return (
        embeddings(random.normal(size=(queries, dim)), "q", provenance),
        embeddings(random.normal(size=(gallery, dim)), "g", provenance),
    )


def milvus(tmp_path, extra=""):
    return build(f"milvus(k=7, uri={str(tmp_path / 'm.db')!r}{extra})", SEARCHERS)


def same(one, two):
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_the_database_finds_what_the_exact_search_finds(metric, tmp_path):
    queries, gallery = pair()
    ranking = milvus(tmp_path, f", metric={metric!r}")(queries, gallery)
    same(ranking, Exact(k=7, metric=metric)(queries, gallery))
    assert ranking.provenance["recall"] == {"k": 7, "value": 1.0, "queries": 9, "seed": 0}
    assert ranking.provenance["exact"] is False and ranking.provenance["engine"].startswith(
        "milvus"
    )


def test_a_second_search_stores_nothing_and_finds_the_same(tmp_path, monkeypatch):
    queries, gallery = pair()
    first = milvus(tmp_path)(queries, gallery)
    monkeypatch.setattr(MilvusStore, "upsert", lambda *_: pytest.fail("stored again"))
    same(milvus(tmp_path)(queries, gallery), first)


def test_a_search_that_was_killed_while_storing_goes_on(tmp_path, monkeypatch):
    queries, gallery = pair()
    upsert = MilvusStore.upsert

    def dying(self, some, holds):
        upsert(self, Embeddings(some.ids[:30], some.vectors[:30], some.provenance), holds)
        raise KeyboardInterrupt

    monkeypatch.setattr(MilvusStore, "upsert", dying)
    with pytest.raises(KeyboardInterrupt):
        milvus(tmp_path)(queries, gallery)
    stored = []
    monkeypatch.setattr(
        MilvusStore,
        "upsert",
        lambda self, some, holds: stored.append(len(some)) or upsert(self, some, holds),
    )
    same(milvus(tmp_path)(queries, gallery), Exact(k=7)(queries, gallery))
    assert stored == [50]
    with MilvusStore(str(tmp_path / "m.db")) as store:
        assert store.count() == 80


def test_a_collection_that_holds_something_else_is_refused_or_replaced(tmp_path):
    queries, gallery = pair()
    other = pair(1)[1]
    milvus(tmp_path)(queries, gallery)
    with pytest.raises(ArtefactError, match="holds another gallery"):
        milvus(tmp_path)(queries, other)
    with pytest.raises(ArtefactError, match="holds another gallery"):
        milvus(tmp_path, ", metric='l2'")(queries, gallery)
    same(milvus(tmp_path, ", collection='second'")(queries, other), Exact(k=7)(queries, other))
    same(milvus(tmp_path, ", replace=True")(queries, other), Exact(k=7)(queries, other))


def test_upsert_and_delete_go_by_id(tmp_path):
    queries, gallery = pair()
    with MilvusStore(str(tmp_path / "m.db")) as store:
        store.create(8, "cosine", {})
        store.upsert(gallery)
        store.upsert(gallery)
        assert store.count() == 80
        assert store.delete(["g00003", "g00004", "not there"]) == 2
        near = Embeddings(["g00005", "new"], queries.vectors[:2] * 3)
        store.upsert(near)
        assert store.count() == 79 and "g00003" not in store.ids() and "new" in store.ids()
        found = store.nearest(queries, 5)
    keep = [row for row in range(80) if row not in (3, 4, 5)]
    now = Embeddings(
        [*gallery.ids[keep], *near.ids], np.concatenate([gallery.vectors[keep], near.vectors])
    )
    exact = Exact(k=5)(queries, now)
    assert found == exact.gallery_ids[exact.indices].tolist()


def test_a_collection_that_was_made_and_never_filled_is_filled(tmp_path):
    queries, gallery = pair()
    with MilvusStore(str(tmp_path / "m.db")) as store:
        store.create(3, "l2", {"model": "gone"})
    same(milvus(tmp_path)(queries, gallery), Exact(k=7)(queries, gallery))


def test_a_collection_changed_by_hand_no_longer_passes_for_the_gallery(tmp_path):
    queries, gallery = pair()
    milvus(tmp_path)(queries, gallery)
    with MilvusStore(str(tmp_path / "m.db")) as store:
        store.delete(["g00003"])
    with pytest.raises(ArtefactError, match="was changed since"):
        milvus(tmp_path)(queries, gallery)


def test_queries_and_images_of_another_model_or_dimension_are_refused(tmp_path):
    queries, gallery = pair(provenance={"model": "one", "views": ["hflip()"]})
    milvus(tmp_path)(queries, gallery)
    other = Embeddings(queries.ids, queries.vectors, {"model": "two"})
    narrow = embeddings(np.ones((2, 5)), "n")
    with MilvusStore(str(tmp_path / "m.db")) as store:
        with pytest.raises(
            ArtefactError, match="queries and collection 'gallery' differ in model: two and one"
        ):
            store.nearest(other, 3)
        with pytest.raises(ArtefactError, match="differ in model"):
            store.upsert(other)
        with pytest.raises(ArtefactError, match="5 dimensions, collection 'gallery' has 8"):
            store.nearest(narrow, 3)
        with pytest.raises(ArtefactError, match="5 dimensions"):
            store.upsert(narrow)
        assert store.count() == 80
        assert store.about()["passport"] == {"model": "one", "views": ["hflip()"]}
    with pytest.raises(ArtefactError, match="differ in model"):
        milvus(tmp_path)(other, gallery)


def test_what_cannot_be_scored_never_enters(tmp_path):
    queries, gallery = pair()
    bad = gallery.vectors.copy()
    bad[5, 1] = np.nan
    with pytest.raises(DataError, match="'g00005' is not finite"):
        milvus(tmp_path)(queries, Embeddings(gallery.ids, bad))
    with MilvusStore(str(tmp_path / "m.db")) as store:
        with pytest.raises(DataError, match="longer than 4096 bytes"):
            store.upsert(Embeddings(["x" * 5000], np.ones((1, 8), np.float32)))
        assert store.count() == 0


def test_empty_sides_and_short_galleries_give_what_there_is(tmp_path):
    queries, gallery = pair(gallery=3)
    same(milvus(tmp_path)(queries, gallery), Exact(k=7)(queries, gallery))
    none = embeddings(np.empty((0, 8)))
    assert milvus(tmp_path)(none, gallery).indices.shape == (0, 3)
    assert milvus(tmp_path, ", collection='empty'")(queries, none).indices.shape == (9, 0)
    with MilvusStore(str(tmp_path / "m.db"), "empty") as store:
        assert store.nearest(queries, 3) == [[]] * 9


def test_ids_of_any_script_survive_and_none_is_read_as_a_filter(tmp_path):
    ids = [
        "ü/ß.jpg",
        "写真 1.png",
        'it\'s "quoted"',
        "a\\b%27",
        "x'] or id != '",
        "x",
        "100%",
        "x\udcff.jpg",
    ]
    gallery = Embeddings(ids, np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32))
    queries = pair()[0]
    same(milvus(tmp_path)(queries, gallery), Exact(k=7)(queries, gallery))
    with MilvusStore(str(tmp_path / "m.db")) as store:
        assert store.delete(ids[:5]) == 5 and store.ids().tolist() == ["100%", "x", "x\udcff.jpg"]


def test_a_foreign_collection_is_left_alone(tmp_path):
    queries, gallery = pair()
    with MilvusStore(str(tmp_path / "m.db")) as store:
        store.connection.client.create_collection("gallery", dimension=8)
    with pytest.raises(ArtefactError, match="not made by FastSeek"):
        milvus(tmp_path)(queries, gallery)


def test_names_that_are_no_longer_in_the_gallery_leave_a_gap_at_the_end():
    ids = np.array(["a", "b", "c"])
    assert look_up_rows([["b", "gone", "a"], ["c"], []], ids, 2).tolist() == [
        [1, -1],
        [2, -1],
        [-1, -1],
    ]


@pytest.mark.parametrize("uri", ["here", "milvus.sqlite"])
def test_a_uri_that_is_none_is_refused(uri):
    with pytest.raises(UsageError, match="ends in .db, or http"):
        MilvusStore(uri)


@pytest.mark.parametrize("name", ["my shop", "", "7up", "a-b", "ü"])
def test_a_name_that_no_server_takes_makes_no_collection(name):
    with pytest.raises(UsageError, match="no collection can be called"):
        check_collection(name)


def test_a_folder_that_cannot_be_made_is_wrong_use():
    with pytest.raises(UsageError, match="/proc/none: cannot be written"):
        MilvusStore("/proc/none/m.db")


def test_a_cluster_that_does_not_answer_ends_the_run_without_its_password():
    with pytest.raises(RunError, match="127.0.0.1:1 could not open") as caught:
        MilvusStore("http://someone:secret@127.0.0.1:1")
    assert "secret" not in str(caught.value)


def test_without_pymilvus_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(UsageError, match="pip install pymilvus milvus-lite"):
        MilvusStore(str(tmp_path / "m.db"))


@pytest.mark.parametrize(
    "call", ["milvus(k=0)", "milvus(k=10000, refine=2)", "milvus(metric='x')", "milvus(sample=0)"]
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, SEARCHERS)


@pytest.mark.parametrize("index", ["SCANN", "IVF_PQ", "DISKANN(search_list=50)"])
def test_F12_an_index_that_the_embedded_engine_cannot_build_is_refused_before_anything(
    index, tmp_path
):
    with pytest.raises(UsageError, match=r"no index of an embedded database.*Known: AUTOINDEX"):
        milvus(tmp_path, f", index={index!r}")
    assert list(tmp_path.iterdir()) == []
    assert build(f"milvus(uri='http://h:1', index={index!r})", SEARCHERS)  # a cluster knows its own


def test_F12_an_index_that_fails_in_the_background_is_told(tmp_path, monkeypatch, capfd):
    def fail(*_):
        raise ValueError("no room for the graph")

    monkeypatch.setattr("milvus_lite.index.factory.build_index_from_spec", fail)
    with pytest.raises(RunError, match="could not build its index.*no room for the graph"):
        milvus(tmp_path)(*pair())
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("left", [0, 40])
def test_F70_the_half_of_an_index_that_a_kill_left_is_built_anew(left, tmp_path):
    queries, gallery = pair()
    before = milvus(tmp_path)(queries, gallery)
    (index,) = tmp_path.rglob("indexes/*")
    index.write_bytes(index.read_bytes()[:left])
    same(milvus(tmp_path)(queries, gallery), before)


def test_F35_a_database_that_is_open_elsewhere_is_told_in_one_line(tmp_path, capfd):
    milvus(tmp_path)(*pair())
    with open(tmp_path / "m.db" / "LOCK") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="m.db is open in another process: wait") as caught:
            milvus(tmp_path)(*pair())
    assert "\n" not in str(caught.value) and capfd.readouterr().err == ""
    milvus(tmp_path)(*pair())


def test_F67_a_file_is_no_database(tmp_path, capfd):
    (tmp_path / "m.db").write_text("id,label\n")
    with pytest.raises(ArtefactError, match="m.db is a file; the database .* is a folder"):
        milvus(tmp_path)(*pair())
    assert capfd.readouterr().err == ""
    assert (tmp_path / "m.db").read_text() == "id,label\n"


@pytest.mark.parametrize("name", ["schema.json", "manifest.json*", "data_*.parquet"])
def test_F67_a_damaged_database_is_told_with_the_remedy(name, tmp_path, capfd):
    milvus(tmp_path)(*pair())
    files = list((tmp_path / "m.db").rglob(name))
    for file in files:
        file.write_text("broken")
    assert files
    with pytest.raises(ArtefactError, match=r"m\.db could not .* is damaged; remove it") as caught:
        milvus(tmp_path)(*pair())
    told = capfd.readouterr().err
    assert "\n" not in str(caught.value) and "Traceback" not in told, told


def test_F67_a_full_disk_is_told_as_one(tmp_path, monkeypatch, capfd):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("milvus_lite.engine.collection.Collection.insert", fail)
    with pytest.raises(RunError, match="no space is left there: make room") as caught:
        milvus(tmp_path)(*pair())
    assert "\n" not in str(caught.value) and "Traceback" not in capfd.readouterr().err
    monkeypatch.undo()
    same(milvus(tmp_path)(*pair()), Exact(k=7)(*pair()))
