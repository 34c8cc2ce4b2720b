"""What is of Milvus alone: types, partitions, words, URIs; the rest is in test_databases."""

import numpy as np
import pytest
from twin import draw

import milvus_server
from fastseek.errors import DataError, UsageError
from fastseek.index import MilvusIndex, milvus_index, open_store
from fastseek.index._milvus_filters import spell_filter
from fastseek.index.filters import parse_filter
from fastseek.search import _milvus_lock
from fastseek.search._milvus_connection import MilvusConnection
from fastseek.search._milvus_journal import keep_batch, left_batches
from fastseek.search._milvus_lock import hold_lock

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
SERVER = pytest.mark.skipif(not milvus_server.THERE, reason="the wheel milvus is not installed")


def unit(count, seed=0):
    made = draw(count, 8, seed)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def base(kind, folder):
    return (
        f"{folder}/a.db" if kind == "lite" else milvus_server.shared_uri().replace("http", "milvus")
    )


@pytest.mark.parametrize("kind", ["lite", pytest.param("server", marks=SERVER)])
def test_images_are_stored_by_their_partition_and_found_by_it(kind, tmp_path):
    uri, names = f"{base(kind, tmp_path)}?ef=50#parts_{kind}", [f"p{n}" for n in range(40)]
    shops = [("north", "south", None, "west")[n % 4] for n in range(40)]
    call = "HNSW(M=8, efConstruction=60)"
    with MilvusIndex.create(uri, 8, "cosine", call, partition="shop") as index:
        index.add(names, unit(40), {"shop": shops, "price": list(range(40))})
        assert index.upsert(["p0"], unit(1, 3), {"shop": ["south"]}) == 1
        assert index.update(["p1", "p3"], {"shop": ["north", None]}) == 2
        shops[0], shops[1], shops[3] = "south", "north", None
        assert index.metadata(names) == {"shop": shops, "price": list(range(40))}
        for text, wanted in (
            ("shop == 'south'", lambda shop: shop == "south"),
            ("shop != 'south'", lambda shop: shop not in ("south", None)),
            ("not shop == 'south'", lambda shop: shop != "south"),
            ("shop is None", lambda shop: shop is None),
        ):
            expected = sorted(one for one, shop in zip(names, shops, strict=True) if wanted(shop))
            assert index.select(text).tolist() == expected, text
            assert set(index.search(unit(1), 40, text).gallery_ids.tolist()) == set(expected)
        assert index.delete(["p0", "p1"]) == 2 and len(index) == 38
        told = index.info()
        assert told["index"] == call and told["partition"] == "shop" and index.check() == []


@SERVER
def test_images_that_a_killed_process_had_deleted_are_put_in_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    uri, names = f"{base('server', tmp_path)}#halfway", [f"p{n}" for n in range(6)]
    with MilvusIndex.create(uri, 8, partition="shop") as index:
        index.add(names, unit(6), {"shop": ["north"] * 6, "price": list(range(6))})
        ask = index.store._ask

        def die(what, verb, *args, **kwargs):
            if verb == "insert":
                raise KeyboardInterrupt
            return ask(what, verb, *args, **kwargs)

        index.store._ask = die
        with pytest.raises(KeyboardInterrupt):
            index.update(["p1", "p2"], {"shop": ["south", "south"]})
        index.store._ask = ask
        assert len(index) == 4
    with open_store(uri) as index:
        shops = ["north", "south", "south", *["north"] * 3]
        assert index.metadata(names) == {"shop": shops, "price": list(range(6))}
        assert np.allclose(index.vectors(names).vectors, unit(6)) and index.check() == []
    assert not list(tmp_path.rglob("*.json"))


def test_a_batch_is_kept_until_it_is_stored_and_no_longer(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    rows = [{"id": "a", "vector": np.array([0.1, -3e-9], np.float32), "price": 2}]
    with keep_batch("db#one", rows):
        assert list(left_batches("db#one")) == []  # somebody is at it
    assert list(left_batches("db#one")) == []
    for _ in range(2):
        with pytest.raises(OSError), keep_batch("db#one", rows):
            raise OSError
    assert list(left_batches("db#two")) == []
    found = list(left_batches("db#one"))
    assert len(found) == 2 and list(left_batches("db#one")) == []
    assert np.array_equal(np.array(found[0][0]["vector"], np.float32), rows[0]["vector"])


def test_ids_are_compared_for_being_the_same_only():
    with pytest.raises(UsageError, match="ids in Milvus"):
        spell_filter(parse_filter("id < 'b'", {}))


def test_a_column_is_not_called_as_a_word_of_its_filters(tmp_path):
    with MilvusIndex.create(f"{tmp_path}/a.db", 8) as index:
        for name in ("exists", "Like", "true", "null", "AND", "interval", "vector"):
            with pytest.raises(UsageError, match=f"no column can be called '{name}' in Milvus"):
                index.add(["a"], unit(1), {name: [1]})
        assert index.columns == {} and len(index) == 0
        with pytest.raises(UsageError, match="ef is 3|ef must be k or more"):
            MilvusIndex.create(f"{tmp_path}/a.db#x", 8, index="HNSW(ef=3)").search(unit(1), 5)
    with pytest.raises(UsageError, match="'like' in Milvus"):
        MilvusIndex.create(f"{tmp_path}/a.db#b", 8, partition="like")


def test_a_cluster_is_told_without_its_password(monkeypatch):
    class Store:
        there, close, about = False, lambda self: None, lambda self: {}

        def exists(self):
            return self.there

    monkeypatch.setattr(milvus_index, "connect", lambda *_: Store())
    with pytest.raises(DataError, match="milvus://host:19530#mine: holds no such") as caught:
        open_store("milvus://me:secret@host:19530#mine")
    assert "secret" not in str(caught.value)
    monkeypatch.setattr(Store, "there", True)
    assert open_store("milvus://me:secret@host:19530#mine").name == "milvus://host:19530#mine"


@SERVER
def test_an_old_server_refuses_by_name_what_it_does_not_have():
    uri = base("server", "")
    for dtype, since in (("float16", "2.4"), ("bfloat16", "2.4"), ("int8", "2.6")):
        told = f"vectors of {dtype} need Milvus {since}, and this server is 2.3.5: take float32"
        with pytest.raises(UsageError, match=told):
            MilvusIndex.create(f"{uri}#old", 8, dtype=dtype)
    with pytest.raises(UsageError, match="IVF_RABITQ needs Milvus 2.6, and this server is 2.3.5"):
        MilvusIndex.create(f"{uri}#old", 8, index="IVF_RABITQ")
    with pytest.raises(DataError, match="holds no such collection"):
        open_store(f"{uri}#old")


@SERVER
def test_the_lock_of_a_writer_that_died_is_taken_over(monkeypatch, caplog):
    monkeypatch.setattr(_milvus_lock, "STALE", 0.3)
    first, second = (MilvusConnection(base("server", "")) for _ in "ab")
    left = hold_lock(first, "died")
    left.__enter__()
    with hold_lock(second, "died"):
        assert first.client.has_collection("died_lock")
    assert "taken over" in caplog.text and not first.client.has_collection("died_lock")
    left.__exit__(None, None, None)
    first.close()
    second.close()
