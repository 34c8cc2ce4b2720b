"""Images as the queries of a search: one, a list, and names on standard input."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import fastseek as fs
import toy
from fastseek import cli
from fastseek.errors import DataError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Six images, embedded; and a model of another way."""
    root = tmp_path_factory.mktemp("images")
    (root / "in").mkdir()
    for label in range(2):
        for shot in range(3):
            toy.photo(label, shot).resize((64, 64)).save(root / "in" / f"{label}-{shot}.png")
    fs.embed(root / "in", fs.load_model("default", size=64), out=root / "gallery")
    return root


def search(queries, home, out="r.json", more=()):
    line = ["--queries", str(queries), "--gallery", str(home / "gallery"), "--out", out]
    cli.call_verb("search", [*line, "--search", "exact(k=2)", *more])


def test_an_image_a_list_and_names_on_stdin_find_what_their_embeddings_find(
    made, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    names = ["0-1.png", "1-2.png"]
    listed = tmp_path / "l.txt"
    listed.write_text("".join(f"{made / 'in' / name}\n" for name in names))
    fs.embed(listed, fs.load_model("default", size=64), out="q")
    answers = {}
    for given in ("q", listed, "-"):
        monkeypatch.setattr("sys.stdin", io.StringIO(listed.read_text()))
        search(given, made)
        answers[str(given)] = json.loads((tmp_path / "r.json").read_text())
    assert answers["q"] == answers[str(listed)] == answers["-"]
    assert [(row["query"], row["id"]) for row in answers["q"] if row["rank"] == 1] == [
        (name, name) for name in names
    ]
    assert answers["q"][0]["path"] == str(made / "in" / "0-1.png")
    search(made / "in" / "1-0.png", made)
    [first, second] = json.loads((tmp_path / "r.json").read_text())
    assert first["query"] == first["id"] == "1-0.png" and second["score"] < first["score"]
    assert "1 query, 2 of 6 images each" in capsys.readouterr().out


def test_a_ranking_of_an_image_is_reranked_with_the_image(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    query = made / "in" / "0-0.png"
    search(query, made, "r.npz")
    line = f"--ranking r.npz --queries {query} --gallery {made / 'gallery'} --out b.npz"
    cli.call_verb("rerank", [*line.split(), "--rerank", "k_reciprocal(k1=2, k2=1)"])
    ranking, better = fs.Ranking.load("r.npz"), fs.Ranking.load("b.npz")
    assert sorted(ranking.indices[0]) == sorted(better.indices[0])


def test_a_page_shows_the_query_and_what_was_found(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search(made / "in" / "0-0.png", made, "page.html", ["--images", str(made / "in")])
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64,") == 2


def test_what_cannot_be_a_query_is_told_with_what_to_do(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"broken\.png is neither an image"):
        search("broken.png", made)
    monkeypatch.setattr("sys.stdin", io.StringIO("gone.png\n"))
    with pytest.raises(DataError, match=r"gone\.png: MISSING.*1 of 1 images"):
        search("-", made)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(DataError, match="standard input: names no image"):
        search("-", made)
    with pytest.raises(DataError, match="images are embedded first"):
        search(made / "in", made)
    np.save("g.npy", np.eye(4, dtype=np.float32))
    Image.new("RGB", (9, 9)).save("q.png")
    with pytest.raises(DataError, match=r"g\.npy: made by a recipe or by another program.*embed"):
        cli.call_verb("search", "--queries q.png --gallery g.npy --out r.npz".split())
    assert not (tmp_path / "r.npz").exists()
