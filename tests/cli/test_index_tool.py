"""`fastseek index` with vectors: what it writes, and what it refuses."""

import csv
import json

import numpy as np
import pytest

from fastseek.cli import call_verb
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.index import Index
from fastseek.structures import Embeddings, Ranking

PASSPORT = {"model": "m1", "views": []}


def run(line, *more):
    call_verb("index", [*line.split(), *map(str, more)])


def draw(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Embeddings([f"p{n}" for n in range(9)], draw(9), PASSPORT).save(tmp_path / "g")
    Embeddings(["q0", "=q1"], draw(2, 1), PASSPORT).save(tmp_path / "q")
    (tmp_path / "t.csv").write_text(
        "id,price,shop\n" + "".join(f"p{n},{n},=s{n % 2}\n" for n in range(9))
    )
    run("create --out i")
    run("add i --embeddings g --metadata t.csv")
    return tmp_path


def test_the_answer_of_a_search_in_every_form(home, capsys):
    for suffix in ("csv", "json", "jsonl", "npz", "html"):
        run(f"search i --queries q -k 3 --out a.{suffix}")
    ranking = Ranking.load("a.npz")
    assert ranking.indices.shape == (2, 3) and ranking.provenance["gallery"] == PASSPORT
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["query", "rank", "id", "path", "score", "price", "shop"]
    assert len(rows) == 6 and rows[0]["shop"].startswith("'=s") and rows[3]["query"] == "'=q1"
    told = json.loads((home / "a.json").read_text())
    assert told == [json.loads(line) for line in (home / "a.jsonl").read_text().splitlines()]
    assert told[0]["id"] == f"p{told[0]['price']}"
    assert "FastSeek" in (home / "a.html").read_text()
    capsys.readouterr()
    run("search i --queries q -k 2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "q0" and len(lines) == 6 and lines[1].split()[2] == told[0]["id"]


def test_a_filter_keeps_what_fulfills_it(home):
    run("search i --queries q -k 9 --out a.json --filter", "price < 4 and shop == '=s1'")
    assert {row["id"] for row in json.loads((home / "a.json").read_text())} == {"p1", "p3"}
    with pytest.raises(UsageError, match="did you mean price"):
        run("search i --queries q --filter", "prise < 4")


def test_images_are_deleted_by_id_by_file_and_by_condition(home, capsys):
    (home / "gone.txt").write_text("p1\np2\n")
    run("delete i p0 zebra --ids gone.txt")
    assert "3 images deleted; 1 not there; 6 left" in capsys.readouterr().out
    run("delete i --filter", "price >= 7")
    assert Index.open("i").ids.tolist() == ["p3", "p4", "p5", "p6"]
    with pytest.raises(UsageError, match="name the images to delete"):
        run("delete i")


def test_info_is_json_and_check_finds_a_changed_byte(home, capsys):
    capsys.readouterr()
    run("info i")
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["model"], told["engine"]) == (9, "m1", "flat")
    run("check i")
    run("delete i p3")
    run("compact i")
    assert "8 images" in capsys.readouterr().out
    run("check i")
    path = sorted((home / "i" / "1").glob("*.vectors.npy"))[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="not those that were written"):
        run("check i")


def test_wrong_calls_say_what_to_do(home):
    for line, told in (
        ("add i", "--images or --embeddings"),
        ("search i", "either --images or --queries"),
        ("search i --queries q --out a.txt", "a.txt: a ranking is written as"),
        ("create --out i", "is an index already"),
        ("create --out j --metric cosin", "metric must be one of"),
        ("search i --queries q -k 0", "k must be 1 or more"),
    ):
        with pytest.raises(UsageError, match=told):
            run(line)
    with pytest.raises(DataError, match="9 of 9 images are there already"):
        run("add i --embeddings g")
    with pytest.raises(DataError, match="g: is no index"):
        run("info g")
    (home / "a.csv").write_text("day,hours\n")
    with pytest.raises(UsageError, match="no ranking of FastSeek"):
        run("search i --queries q --out a.csv")
    run("search i --queries q --out a.csv --force")


def test_an_answer_is_never_written_over_the_index(home):
    with pytest.raises(UsageError):
        run("search i --queries q --out i/index.json")
    with pytest.raises(UsageError):
        run("search i --queries q --out i/1/manifest.json --force")
    assert Index.open("i").check() == []


def test_an_index_is_migrated_to_other_vectors_and_back(home, capsys):
    new = Embeddings([f"p{n}" for n in range(9)], draw(9, 4)[:, :3], {"model": "m2"})
    new.save(home / "new")
    capsys.readouterr()
    run("migrate i --embeddings new --dry-run")
    run("migrate i --embeddings new --no-switch -k 3")
    assert Index.open("i").provenance["model"] == "m1"
    run("migrate i --embeddings new -k 3")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "i: 9 of 9 vectors to take over"
    assert "overlap@3" in told[1] and "old vectors stay current" in told[1]
    assert "new vectors are current; --rollback goes back" in told[2]
    index = Index.open("i")
    assert index.provenance["model"] == "m2" and index.metadata(["p4"])["price"] == [4]
    with pytest.raises(ArtefactError, match="5 dimensions"):
        run("search i --queries q")
    run("migrate i --rollback")
    run("search i --queries q")
    with pytest.raises(UsageError, match="either --model or --embeddings"):
        run("migrate i")
    Embeddings(["p0"], draw(1)[:, :3], {"model": "m3"}).save(home / "few")
    with pytest.raises(DataError, match="8 images cannot be embedded anew, such as 'p1'"):
        run("migrate i --embeddings few")


def test_messages_name_the_line_the_column_and_what_is_taken_over(home, capsys):
    (home / "twice.csv").write_text("id,price\np1,1\np2,2\np1,3\n")
    with pytest.raises(DataError, match="twice.csv:4: 'p1' stands in line 2 already"):
        run("upsert i --metadata twice.csv")
    (home / "none.csv").write_text("name,price\np1,1\n")
    with pytest.raises(DataError, match=r"none.csv:1: the header must hold id \(or path\)"):
        run("upsert i --metadata none.csv")
    Embeddings([f"p{n}" for n in range(9)], draw(9, 1), {"model": "m2"}).save("n")
    capsys.readouterr()
    run("migrate i --embeddings n --dry-run")
    assert "9 of 9 vectors to take over" in capsys.readouterr().out
    one = {"model": "m" * 64, "name": "default", "preprocessing": {"pooling": "gem", "size": 4}}
    Embeddings(["a"], draw(1), one).save("one")
    run("create --out j")
    run("add j --embeddings one")
    capsys.readouterr()
    run("info j")
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["name"], told["pooling"]) == ("m" * 12, "default", "gem")
    Embeddings(["b"], draw(1), {**one, "preprocessing": {"pooling": "gem", "size": 5}}).save("two")
    with pytest.raises(ArtefactError, match="differ in preprocessing: size 5 and 4; embed"):
        run("add j --embeddings two")
