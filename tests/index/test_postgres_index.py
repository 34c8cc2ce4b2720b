"""What is of PostgreSQL alone: transactions, graphs, names, URIs; the rest is in test_databases."""

import re
import threading

import numpy as np
import pytest
from twin import answers, draw

from fastseek.errors import DataError, RunError, UsageError
from fastseek.index import PostgresIndex, _postgres_connection, open_store
from fastseek.index._postgres_engines import read_engine
from fastseek.index.addresses import hide_password


def unit(count, seed=0):
    made = draw(count, 8, seed)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_what_is_not_there_is_refused(postgres):
    with pytest.raises(DataError, match="holds no index 'none'"):
        open_store(f"{postgres}#none")
    with pytest.raises(UsageError, match="no index can be called"):
        open_store(f'{postgres}#a"; drop table x')
    with pytest.raises(RunError, match="PostgreSQL at postgresql://127.0.0.1:9/x does not answer"):
        open_store("postgresql://me:secret@127.0.0.1:9/x#none")
    for dim, metric, engine in ((0, "cosine", "flat"), (8, "cos", "flat"), (3000, "l2", "hnsw")):
        with pytest.raises(UsageError):
            PostgresIndex.create(f"{postgres}#new", dim, metric, engine)
    with pytest.raises(UsageError, match="engine in PostgreSQL must be"):
        PostgresIndex.create(f"{postgres}#new", 8, "l2", "ivf")


def test_two_writers_take_turns_and_nothing_is_lost(postgres):
    PostgresIndex.create(f"{postgres}#two", 8, metric="l2").close()
    faults = []

    def write(letter):
        with PostgresIndex(f"{postgres}#two") as index:
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
    with PostgresIndex(f"{postgres}#two") as index:
        assert faults == [] and len(index) == 20
        assert index.columns == {"a": "number", "b": "number"}
        found = index.search(unit(1, 4), 2)
        assert sorted(found.gallery_ids.tolist()) == ["a4", "b4"]
        assert found.gallery_ids[found.indices[0]].tolist() == ["a4", "b4"]


def test_an_image_that_is_deleted_during_a_search_is_found_or_not(postgres, monkeypatch):
    name = f"{postgres}#during"
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


def test_the_few_images_a_filter_lets_through_are_all_found_in_a_graph(postgres):
    vectors = draw(1200, 3, 5)
    flags = np.zeros(len(vectors), int)
    chosen = np.argsort(vectors[:, 0])[-9:]
    flags[chosen] = 1
    expected = sorted(f"i{n}" for n in chosen)
    # Far from the images that the filter lets through, and amid them.
    queries = vectors[[np.argmin(vectors[:, 0]), chosen[0]]]
    with PostgresIndex.create(f"{postgres}#few", 3, "l2", "hnsw") as index:
        index.add([f"i{n}" for n in range(len(vectors))], vectors, {"flag": flags})
        # As in a table of more than 20,000 images, which takes a minute to fill.
        index.database.run("SET hnsw.max_scan_tuples = 200; SET enable_seqscan = off")
        found = index.search(queries, 9, "flag == 1")
        assert [sorted(name for name, _ in row) for row in answers(found)] == [expected] * 2
        assert index.search(queries, 20, "flag == 1").indices.shape == (2, 9)
        assert index.search(queries, 300).indices.shape == (2, 300)


def test_ties_stand_in_the_order_of_the_ids_whatever_was_put_in_first(postgres):
    with PostgresIndex.create(f"{postgres}#ties", 3) as index:
        index.add([f"i{n:03}" for n in range(200, 0, -1)], np.ones((200, 3), np.float32))
        found = index.search(np.ones((1, 3), np.float32), 3)
        assert [name for name, _ in answers(found)[0]] == ["i001", "i002", "i003"]


def test_a_text_that_is_no_utf8_is_refused_wherever_it_stands(postgres):
    bad, spelled = "a\udcff.jpg", "a\\udcff.jpg"
    with PostgresIndex.create(f"{postgres}#texts", 8) as index:
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
def test_a_column_is_called_what_postgresql_can_keep(postgres, name):
    with PostgresIndex.create(
        f"{postgres}#names_{len(name)}_{name[:4]}".replace("é", "e"), 8
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


@pytest.mark.parametrize("engine", ["flat", "hnsw(m=8, ef_construction=32, ef=50)"])
def test_half_precision_takes_half_the_space_and_answers_as_it_is_stored(postgres, engine):
    with PostgresIndex.create(
        f"{postgres}#half_{engine[:4]}", 8, "l2", engine, dtype="float16"
    ) as one:
        one.add([f"i{n}" for n in range(50)], unit(50))
        stored = one.vectors([f"i{n}" for n in range(50)]).vectors
        np.testing.assert_array_equal(stored, unit(50).astype(np.float16).astype(np.float32))
        names = [name for name, _ in answers(one.search(stored[:3], 1))[0]]
        assert names == ["i0"] and one.info()["dtype"] == "float16"
        with pytest.raises(DataError, match="'far' is too long for float16"):
            one.add(["far"], np.full((1, 8), 1e6, np.float32))
        told = one.database.run(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE"
            f" attrelid = 'fastseek_half_{engine[:4]}'::regclass AND attname = 'vector'"
        )
        assert told.fetchone()[0] == "halfvec(8)"


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("hnsw(M=16)", "no setting 'M'; it has m, ef_construction, ef"),
        ("hnsw(m=1)", "m must be a whole number of 2 to 100, got 1"),
        ("hnsw(m=16.5)", "m must be a whole number"),
        ("hnsw(m=64)", "ef_construction must be twice m or more"),
        ("flat(m=16)", "flat has no setting 'm', and needs none"),
        ("hnsw(16)", "name its settings"),
    ],
)
def test_a_setting_that_is_wrong_is_refused_by_name(engine, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        read_engine(engine)


def test_a_graph_has_the_settings_that_were_named_and_is_built_after_a_long_load(
    postgres, monkeypatch
):
    name = f"{postgres}#settings"
    with PostgresIndex.create(name, 8, "ip", "hnsw(m=8, ef_construction=40)") as index:
        monkeypatch.setattr(PostgresIndex, "piece", 100)
        index.add([f"i{n}" for n in range(250)], unit(250))
        query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'fastseek_settings'"
        made = [row[0] for row in index.database.run(query).fetchall() if "hnsw" in row[0]]
        assert len(made) == 1 and "m='8'" in made[0] and "ef_construction='40'" in made[0]
        assert index.check() == []


def test_a_connection_that_was_lost_is_opened_again_and_the_change_is_there_once(
    postgres, monkeypatch, caplog
):
    monkeypatch.setattr(_postgres_connection, "PAUSES", (0.01, 0.01))
    name = f"{postgres}#lost"
    with PostgresIndex.create(name, 8) as index, PostgresIndex(name) as other:

        def end():
            mine = index.database.run("SELECT pg_backend_pid()").fetchone()[0]
            other.database.run("SELECT pg_terminate_backend(%s)", [mine])

        end()
        assert len(index) == 0 and "once more in 0.01 s" in caplog.text
        inner, left = index._store, [1]

        def lose(piece):
            inner(piece)
            if left.pop():
                left.append(0)
                mine = index.database.run("SELECT pg_backend_pid()").fetchone()[0]
                other.database.run("SELECT pg_terminate_backend(%s)", [mine])

        monkeypatch.setattr(index, "_store", lose)
        assert index.add(["a", "b"], unit(2)) == 2
        assert other.known(["a", "b"]).all() and len(other) == 2
        monkeypatch.undo()
        monkeypatch.setattr(PostgresIndex, "piece", 1)
        index.database._connection.pgconn.finish()  # as a server that ended leaves it
        assert index.add(["c", "d"], unit(2)) == 2 and len(other) == 4
