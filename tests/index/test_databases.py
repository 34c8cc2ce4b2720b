"""The same index in databases does what the folder does: Milvus, embedded and on a server, and
PostgreSQL with pgvector, compared and in a graph. A law stands here once, for all of them.
"""

import threading

import numpy as np
import pytest
from twin import Twin, answers, draw

import milvus_server
from fastseek.cli import call_verb
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.index import Index, MilvusIndex, PostgresIndex, open_store, postgres_index
from fastseek.structures import Embeddings

MODEL = {"model": "m1", "views": []}
NAMES = ["a/é.jpg", "it's.jpg", "c%41.jpg", *(f"p{n}" for n in range(37))]
SERVER = pytest.mark.skipif(not milvus_server.THERE, reason="the wheel milvus is not installed")


def unit(count, seed=0):
    made = draw(count, 8, seed)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


class Place:
    """Where indexes of a kind are made."""

    def __init__(self, kind, home, uri):
        self.kind, self.home, self.base = kind, home, uri
        self.milvus = kind in ("lite", "server")
        self.engine = {"hnsw": "hnsw"}.get(kind, "flat")
        self.made = []

    def uri(self, name):
        return f"{self.base}#{self.kind}_{name}"

    def create(self, name, dim=8, metric="cosine", provenance=None):
        made = MilvusIndex if self.milvus else PostgresIndex
        index = made.create(self.uri(name), dim, metric, self.engine, provenance)
        self.made.append(index)
        return index

    def open(self, name):
        self.made.append(open_store(self.uri(name)))
        return self.made[-1]


@pytest.fixture(
    scope="module", params=["lite", pytest.param("server", marks=SERVER), "flat", "hnsw"]
)
def place(request, tmp_path_factory):
    home = tmp_path_factory.mktemp("databases")
    kind = request.param
    if kind == "lite":
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
        made = Place(kind, home, f"{home}/a.db")
        made.create("holds_the_file_open")
    elif kind == "server":
        made = Place(kind, home, milvus_server.shared_uri().replace("http:", "milvus:"))
    else:
        made = Place(kind, home, request.getfixturevalue("postgres"))
    yield made
    for index in made.made:
        index.close()


@pytest.fixture(scope="module")
def both(place):
    """The same images in a database, in a folder, and in a dict."""
    index, folder, twin = place.create("both", provenance=MODEL), None, Twin()
    folder = Index.create(place.home / "i")
    metadata = {
        "price": [None if n % 5 == 0 else n for n in range(40)],
        "shop": [("north", "south", "", 'say "bé"')[n % 4] for n in range(40)],
    }
    for one in (index, folder):
        one.add(NAMES, unit(40), metadata, MODEL)
        assert one.upsert(NAMES[:2] + ["new"], unit(3, 7), {"price": [1, 2, 3]}) == 2
        assert one.delete(["p3", "p4", "nothing"]) == 2
    twin.put(NAMES, unit(40), metadata)
    twin.put(NAMES[:2] + ["new"], unit(3, 7), {"price": [1, 2, 3]})
    twin.delete(["p3", "p4"])
    return index, folder, twin


def test_it_holds_what_the_folder_holds(both):
    index, folder, twin = both
    names = sorted(twin.rows)
    assert len(index) == len(folder) == len(names) and index.check() == []
    assert index.metadata(names) == folder.metadata(names)
    assert index.known([*names, "p3"]).tolist() == [True] * len(names) + [False]
    stored = [one.vectors(names[::-1]).vectors for one in (index, folder)]
    np.testing.assert_allclose(*stored, rtol=1e-6)
    assert index.columns == folder.columns and index.provenance == MODEL
    assert index.info()["images"] == len(names)


def test_it_answers_as_an_exact_search(both):
    index, folder, _ = both
    found = [answers(one.search(unit(5, 3), 6)) for one in (index, folder)]
    for mine, theirs in zip(*found, strict=True):
        assert [name for name, _ in mine] == [name for name, _ in theirs]
        scores = [[score for _, score in row] for row in (mine, theirs)]
        np.testing.assert_allclose(*scores, rtol=1e-5)
    with pytest.raises(ArtefactError, match="differ in model"):
        index.search(Embeddings(["q"], unit(1), {"model": "m2"}))


@pytest.mark.parametrize(
    "text",
    [
        "price < 20",
        "not price < 20",
        "price != 7",
        "not (price != 7)",
        "price in (1, 2, 7.0)",
        "5 < price <= 12 or shop == 'north'",
        "not (price > 5 and shop == 'north')",
        "shop in ('south', 'say \"bé\"')",
        "not shop in ('south', 'north')",
        "shop not in ('south', 'north')",
        "price is None",
        "not (price is None) and shop is not None",
        "shop is None or price == 2",
        "id == 'a/é.jpg' or id in ('c%41.jpg', \"it's.jpg\")",
        "id != 'p5'",
        "shop < 'o'",
        "'o' > shop",
    ],
)
def test_a_filter_means_what_it_means_in_a_folder(both, text):
    index, folder, _ = both
    expected = folder.select(text).tolist()
    assert index.select(text).tolist() == expected
    found = index.search(unit(2, 5), 5, text)
    assert set(found.gallery_ids.tolist()) <= set(expected)
    assert found.indices.shape[1] == min(5, len(expected))


def test_a_change_that_is_refused_changes_nothing(both):
    index, _, twin = both
    columns, long = index.columns, np.array([unit(1)[0], np.full(8, np.nan)], np.float32)
    refused = (
        (["z", "p0"], unit(2), {"extra": [1, 2]}, DataError, "1 of 2 images are there already"),
        (["z"], unit(1), {"price": ["much"]}, DataError, "'much' is no number"),
        (["z"], unit(1), {"vector": [1]}, UsageError, "'vector'"),
        (["y", "z"], long, {}, DataError, "'z' is not finite"),
    )
    for ids, vectors, metadata, error, told in refused:
        with pytest.raises(error, match=told):
            index.add(ids, vectors, metadata)
    with pytest.raises(DataError, match="1 of 2 images are not there, such as 'z'"):
        index.update(["p0", "z"], {"price": [1, 2]})
    with pytest.raises(DataError, match="1 of 1 images are not there"):
        index.vectors(["p3"])
    with pytest.raises(UsageError, match="takes a list of ids"):
        index.delete("p0")
    assert index.columns == columns and len(index) == len(twin.rows)
    assert not index.known(["z", "y"]).any()


def test_what_is_not_there_is_refused(place):
    with pytest.raises(DataError, match="holds no"):
        open_store(place.uri("none"))
    for dim, metric in ((0, "cosine"), (8, "cos")):
        with pytest.raises(UsageError, match="dim must be 1 or more and metric one of"):
            place.create("new", dim, metric)
    with pytest.raises(UsageError, match="(?i)nonsense"):
        call_verb(
            "index", ["create", "--out", place.uri("n"), "--dim", "8", "--engine", "nonsense"]
        )


def test_metadata_is_renewed_and_the_vectors_stay_where_they_are(place, monkeypatch):
    index = place.create("update")
    index.add(["a", "b", "c"], unit(3), {"path": ["/a", "/b", "/c"], "price": [1, 2, 3]}, MODEL)
    if place.kind != "server":  # an old server must be told the vector again
        owner, name = (index.store, "put") if place.milvus else (postgres_index, "as_stored")
        monkeypatch.setattr(owner, name, lambda *_: pytest.fail("vectors are stored"))
    assert index.update(["c", "b"], {"price": [None, 20], "shop": ["north", None]}) == 2
    monkeypatch.undo()
    assert index.metadata(["a", "b", "c"]) == {
        "path": ["/a", "/b", "/c"],
        "price": [1, 20, None],
        "shop": [None, None, "north"],
    }
    assert index.select("price is None").tolist() == ["c"]
    assert index.select("shop is None").tolist() == ["a", "b"]
    np.testing.assert_allclose(index.vectors(["a", "b", "c"]).vectors, unit(3), rtol=1e-6)


def test_of_other_vectors_neither_file_nor_content_is_known(place):
    index = place.create("bare")
    told = {"path": ["/a", "/b"], "content": ["1", "2"], "price": [1, 2]}
    index.add(["a", "b"], unit(2), told, MODEL)
    assert index.upsert(["a", "c"], unit(2, 5)) == 1
    assert index.metadata(["a", "b", "c"]) == {
        "path": [None, "/b", None],
        "content": [None, "2", None],
        "price": [1, 2, None],
    }
    assert index.upsert(["b"], unit(1, 6), {"path": ["/new"]}) == 1
    assert index.metadata(["b"]) == {"path": ["/new"], "content": [None], "price": [2]}


def test_loading_that_was_stopped_goes_on_by_the_same_call(place, monkeypatch):
    index, names = place.create("load"), [f"i{n:03}" for n in range(100)]
    vectors, prices = unit(100), {"price": list(range(100))}
    monkeypatch.setattr(type(index), "piece", 16)
    store, left = index._store, [3]

    def stop(piece):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        store(piece)

    monkeypatch.setattr(index, "_store", stop)
    with pytest.raises(KeyboardInterrupt):
        index.add(names, vectors, prices, MODEL)
    other = place.open("load")
    assert len(other) == 48 and "the same command goes on" in other.check()[-1]
    with pytest.raises(DataError, match="48 of 100 images are there already"):
        other.add(names, vectors, {"price": list(range(1, 101))}, MODEL)
    stored = []
    monkeypatch.setattr(
        other,
        "_store",
        lambda piece: stored.append(len(piece[0])) or type(other)._store(other, piece),
    )
    assert other.add(names, vectors, prices, MODEL) == 100
    assert sum(stored) == 52 and len(other) == 100 and other.check() == []
    np.testing.assert_allclose(other.vectors(names).vectors, vectors, rtol=1e-6)
    assert other.metadata(names) == prices
    with pytest.raises(DataError, match="100 of 100 images are there already"):
        other.add(names, vectors, prices, MODEL)


def test_images_that_are_there_are_refused_though_the_first_attempt_failed(place):
    index = place.create("twice")

    def fail_before(work):
        return work(True)

    def lose_the_answer(work):
        work(False)
        return work(True)

    index._attempt = lose_the_answer
    assert index.add(["a", "b"], unit(2)) == 2
    index._attempt = fail_before
    with pytest.raises(DataError, match="2 of 2 images are there already"):
        index.add(["a", "b"], unit(2))


def test_of_two_first_writers_of_two_models_one_is_refused(place):
    place.create("race", metric="l2")
    faults, start = [], threading.Barrier(2, timeout=1800)

    def write(model):
        try:
            index = open_store(place.uri("race"))
            start.wait()
        except BaseException:
            start.abort()  # the other one need not wait
            raise
        try:
            index.add(
                [f"{model}{n}" for n in range(5)], unit(5), {model: [1] * 5}, {"model": model}
            )
        except ArtefactError as error:
            faults.append(str(error))
        if place.kind != "lite":  # the file is open while one of this process holds it
            index.close()

    writers = [threading.Thread(target=write, args=(model,)) for model in ("m1", "m2")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    index = place.open("race")
    assert len(faults) == 1 and "differ in model" in faults[0] and len(index) == 5
    (name,) = index.columns
    assert index.provenance["model"] == name and index.select(f"{name} == 1").size == 5


def test_what_another_connection_changed_is_seen(place):
    first = place.create("seen")
    second, third = place.open("seen"), place.open("seen")
    first.add(["a"], unit(1), {"shop": ["north"]}, {"model": "m1"})
    with pytest.raises(ArtefactError, match="differ in model"):
        second.search(Embeddings(["q"], unit(1), {"model": "m2"}))
    with pytest.raises(ArtefactError, match="differ in model"):
        third.add(["b"], unit(1), {}, {"model": "m2"})
    first.upsert(["a"], unit(1), {"color": ["red"]})
    assert second.select("color == 'red'").tolist() == ["a"]
    first.upsert(["a"], unit(1), {"price": [2]})
    assert third.metadata(["a"], ["price"]) == {"price": [2]}
    second.upsert(["a"], unit(1))
    assert second.metadata(["a"])["color"] == ["red"]
    third.delete(["a"])
    assert len(first) == 0 and first.search(unit(1), 3).indices.shape == (1, 0)


def test_a_root_is_told_while_all_images_have_it(place):
    index = place.create("root", provenance={"name": "timm:x"})
    index.add(["a"], unit(1), {}, {"root": "/r1", "size": 4})
    assert index.provenance == {"name": "timm:x", "root": "/r1", "size": 4}
    index.add(["b"], unit(1), {}, {"root": "/r1", **MODEL})
    assert index.provenance == {"name": "timm:x", "root": "/r1", "size": 4, **MODEL}
    index.add(["c"], unit(1), {}, {"root": "/r2", **MODEL})
    assert "root" not in index.provenance
    index.delete(["a", "b", "c"])
    index.add(["c"], unit(1), {}, {"root": "/r3", **MODEL})
    assert index.provenance == {"name": "timm:x", "root": "/r3", "size": 4, **MODEL}
    again = place.open("root")
    assert again.provenance["name"] == "timm:x" and again.provenance["model"] == "m1"


def test_the_commands_take_its_uri(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Embeddings([f"p{n}" for n in range(9)], unit(9), MODEL).save(tmp_path / "g")
    (tmp_path / "t.csv").write_text("id,price\n" + "".join(f"p{n},{n}\n" for n in range(9)))
    name = place.uri("shop")

    def run(verb, *more):
        call_verb("index", [verb, *more])
        return capsys.readouterr().out

    engine = "HNSW(M=8, ef=64)" if place.milvus else f"{place.engine}"
    run("create", "--out", name, "--dim", "8", "--engine", engine)
    run("add", name, "--embeddings", "g", "--metadata", "t.csv")
    run("delete", name, "p1")
    run("search", name, "--queries", "g", "-k", "3", "--out", "a.json", "--filter", "price > 4")
    assert '"price": 8' in (tmp_path / "a.json").read_text()
    (tmp_path / "t.csv").write_text("id,price\np8,80\n")
    run("upsert", name, "--metadata", "t.csv")
    assert "p8" in run("search", name, "--queries", "g", "-k", "1", "--filter", "price == 80")
    assert '"images": 8' in run("info", name) and "8 images" in run("check", name)
    asked = ["--queries", "g", "--collection", name]
    call_verb("search", [*asked, "-k", "3", "--filter", "price < 80", "--out", "b.json"])
    text = (tmp_path / "b.json").read_text()
    assert '"p7"' in text and '"id": "p8"' not in text
    for command, told in (
        (("create", "--out", name, "--dim", "8"), "is an index already"),
        (("compact", name), "a folder only"),
        (("migrate", name, "--rollback"), "a folder only"),
        (("create", "--out", place.uri("y")), "dim must be 1 or more"),
    ):
        with pytest.raises(UsageError, match=told):
            run(*command)
