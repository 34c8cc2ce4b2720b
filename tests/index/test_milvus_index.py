"""The same index in Milvus, embedded and on a server: it does what the folder does."""

import numpy as np
import pytest
from twin import Twin, answers, draw

import milvus_server
from fastseek.cli import call_verb
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.index import Index, MilvusIndex, milvus_index, open_store
from fastseek.structures import Embeddings

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
MODEL = {"model": "m1", "views": []}
NAMES = ["a/é.jpg", "it's.jpg", "c%41.jpg", *(f"p{n}" for n in range(37))]


def unit(count, seed=0):
    made = draw(count, 8, seed)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


SERVER = pytest.mark.skipif(not milvus_server.THERE, reason="the wheel milvus is not installed")


@pytest.fixture(scope="module", params=["lite", pytest.param("server", marks=SERVER)])
def both(request, tmp_path_factory):
    """The same images in Milvus, in a folder, and in a dict."""
    home = tmp_path_factory.mktemp("both")
    uri = f"{home}/a.db"
    if request.param == "server":
        uri = milvus_server.shared_uri().replace("http://", "milvus://")
    lite = MilvusIndex.create(f"{uri}#mine_{home.name}", 8, provenance=MODEL)
    folder, twin = Index.create(home / "i"), Twin()
    metadata = {
        "price": [None if n % 5 == 0 else n for n in range(40)],
        "shop": [("north", "south", "", 'say "bé"')[n % 4] for n in range(40)],
    }
    for index in (lite, folder):
        index.add(NAMES, unit(40), metadata, MODEL)
        assert index.upsert(NAMES[:2] + ["new"], unit(3, 7), {"price": [1, 2, 3]}) == 2
        assert index.delete(["p3", "p4", "nothing"]) == 2
    twin.put(NAMES, unit(40), metadata)
    twin.put(NAMES[:2] + ["new"], unit(3, 7), {"price": [1, 2, 3]})
    twin.delete(["p3", "p4"])
    yield lite, folder, twin
    if request.param == "server":
        lite.store.drop()
    lite.close()


def test_it_holds_what_the_folder_holds(both):
    lite, folder, twin = both
    assert len(lite) == len(folder) == len(twin.rows) and lite.check() == []
    names = sorted(twin.rows)
    assert lite.metadata(names) == folder.metadata(names)
    assert lite.known([*names, "p3"]).tolist() == [True] * len(names) + [False]
    np.testing.assert_allclose(
        lite.vectors(names[::-1]).vectors, folder.vectors(names[::-1]).vectors, rtol=1e-6
    )
    assert lite.columns == folder.columns and lite.provenance == MODEL
    assert lite.info()["images"] == len(names)


def test_it_answers_as_an_exact_search(both):
    lite, folder, twin = both
    found = [answers(index.search(unit(5, 3), 6)) for index in (lite, folder)]
    for mine, theirs in zip(*found, strict=True):
        assert [name for name, _ in mine] == [name for name, _ in theirs]
        np.testing.assert_allclose(
            [score for _, score in mine], [score for _, score in theirs], rtol=1e-5
        )
    with pytest.raises(ArtefactError, match="differ in model"):
        lite.search(Embeddings(["q"], unit(1), {"model": "m2"}))


@pytest.mark.parametrize(
    "text",
    [
        "price < 20",
        "not price < 20",
        "price != 7",
        "not (price != 7)",
        "5 < price <= 12 or shop == 'north'",
        "not (price > 5 and shop == 'north')",
        "shop in ('south', 'say \"bé\"')",
        "shop not in ('south', 'north')",
        "not shop in ('south', 'north')",
        "price is None",
        "not (price is None) and shop is not None",
        "shop is None or price == 2",
        "id == 'a/é.jpg' or id in ('c%41.jpg', \"it's.jpg\")",
        "id != 'p5'",
        "shop < 'o'",
    ],
)
def test_a_filter_means_what_it_means_in_a_folder(both, text):
    lite, folder, _ = both
    expected = folder.select(text).tolist()
    assert lite.select(text).tolist() == expected
    found = lite.search(unit(2, 5), 5, text)
    assert set(found.gallery_ids.tolist()) <= set(expected)
    assert found.indices.shape[1] == min(5, len(expected))


def test_what_it_cannot_do_is_refused(both, tmp_path):
    lite = both[0]
    with pytest.raises(DataError, match="2 of 2 images are there already, such as 'p0'"):
        lite.add(["p0", "p1"], unit(2))
    with pytest.raises(UsageError, match="ids in Milvus"):
        lite.select("id < 'b'")
    with pytest.raises(DataError, match="'much' is no number"):
        lite.upsert(["p0"], unit(1), {"price": ["much"]})
    with pytest.raises(UsageError, match="'vector'"):
        lite.upsert(["p0"], unit(1), {"vector": [1]})
    with pytest.raises(DataError, match="1 of 1 images are not there"):
        lite.vectors(["p3"])
    with pytest.raises(DataError, match="holds no such collection"):
        open_store(f"{tmp_path}/none.db")
    with pytest.raises(UsageError, match="no such index can be opened"):
        open_store("redis://somewhere")


def test_the_commands_take_its_uri(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Embeddings([f"p{n}" for n in range(9)], unit(9), MODEL).save(tmp_path / "g")
    (tmp_path / "t.csv").write_text("id,price\n" + "".join(f"p{n},{n}\n" for n in range(9)))

    def run(line, *more):
        call_verb("index", [*line.split(), *more])

    run("create --out x.db#shop --dim 8")
    run("add x.db#shop --embeddings g --metadata t.csv")
    run("delete x.db#shop p1")
    run("search x.db#shop --queries g -k 3 --out a.json --filter", "price > 4")
    assert '"price": 8' in (tmp_path / "a.json").read_text()
    capsys.readouterr()
    run("info x.db#shop")
    assert '"images": 8' in capsys.readouterr().out
    for line, told in (
        ("compact x.db#shop", "a folder only"),
        ("migrate x.db#shop --rollback", "a folder only"),
        ("create --out y.db", "dim must be 1 or more"),
        ("create --out i --dim 8", "--dim is for a database"),
        ("create --out x.db#shop --dim 8", "is an index already"),
    ):
        with pytest.raises(UsageError, match=told):
            run(line)


def test_what_another_connection_changed_is_seen(tmp_path):
    first = MilvusIndex.create(f"{tmp_path}/a.db", 8)
    second, third = MilvusIndex(f"{tmp_path}/a.db"), MilvusIndex(f"{tmp_path}/a.db")
    first.add(["a"], unit(1), {"shop": ["north"]}, {"model": "m1"})
    with pytest.raises(ArtefactError, match="differ in model"):
        second.search(Embeddings(["q"], unit(1), {"model": "m2"}))
    with pytest.raises(ArtefactError, match="differ in model"):
        third.add(["b"], unit(1), {}, {"model": "m2"})
    first.upsert(["a"], unit(1), {"color": ["red"]})
    assert second.select("color == 'red'").tolist() == ["a"]
    first.upsert(["a"], unit(1), {"price": [2]})
    assert third.metadata(["a"], ["price"]) == {"price": [2]}
    fourth = MilvusIndex(f"{tmp_path}/a.db")
    first.upsert(["a"], unit(1), {"size": ["big"]})
    fourth.upsert(["a"], unit(1))
    assert fourth.metadata(["a"])["size"] == ["big"]
    first.close()


def test_a_root_is_told_while_all_images_have_it(tmp_path):
    with MilvusIndex.create(f"{tmp_path}/a.db", 8, provenance={"name": "timm:x"}) as index:
        index.add(["a"], unit(1), {}, {"root": "/r1", "size": 4})
        assert index.provenance == {"name": "timm:x", "root": "/r1", "size": 4}
        index.add(["b"], unit(1), {}, {"root": "/r1", **MODEL})
        assert index.provenance == {"name": "timm:x", "root": "/r1", "size": 4, **MODEL}
        index.add(["c"], unit(1), {}, {"root": "/r2", **MODEL})
        assert "root" not in index.provenance
        index.delete(["a", "b", "c"])
        index.add(["c"], unit(1), {}, {"root": "/r3", **MODEL})
        assert index.provenance == {"name": "timm:x", "root": "/r3", "size": 4, **MODEL}
        index.delete(["c"])
        index.add(["c"], unit(1), {}, {"root": "/r4", **MODEL})
        assert index.provenance.get("root") in (None, "/r4")
    with MilvusIndex(f"{tmp_path}/a.db") as index:
        assert index.provenance["name"] == "timm:x" and index.provenance["model"] == "m1"


@pytest.mark.parametrize("name", ["exists", "Like", "true", "null", "AND", "interval", "vector"])
def test_a_column_is_not_called_as_a_word_of_its_filters(tmp_path, name):
    with MilvusIndex.create(f"{tmp_path}/a.db", 8) as index:
        with pytest.raises(UsageError, match=f"no column can be called '{name}' in Milvus"):
            index.add(["a"], unit(1), {name: [1]})
        assert index.columns == {} and len(index) == 0


def test_a_cluster_is_told_without_its_password(monkeypatch):
    class Store:
        there, close = False, lambda self: None
        exists = about = lambda self: self.there

    monkeypatch.setattr(milvus_index, "connect", lambda *_: Store())
    with pytest.raises(DataError, match="milvus://host:19530#mine: holds no such") as caught:
        open_store("milvus://me:secret@host:19530#mine")
    assert "secret" not in str(caught.value)
    monkeypatch.setattr(Store, "there", True)
    assert open_store("milvus://me:secret@host:19530#mine").name == "milvus://host:19530#mine"
