"""A ranking becomes a submission that its contest takes, or none is written."""

import pathlib

import numpy as np
import pytest

import processes
from fastseek.cli._submit import check_file, submit_file
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.formats import digix, gldv2
from fastseek.formats.names import read_names
from fastseek.structures import Ranking

ROOT = pathlib.Path(__file__).parents[2]
QUERIES, GALLERY = 6, 130


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Two rankings of the same answers, over row numbers and over paths, and the names of their
    images.
    """
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    indices = np.stack([random.permutation(GALLERY)[:120] for _ in range(QUERIES)])
    scores = np.tile(-np.arange(120.0), (QUERIES, 1))
    asked, known = (
        [f"q{row:015x}" for row in range(QUERIES)],
        [f"{row:016x}" for row in range(GALLERY)],
    )
    Ranking(np.arange(QUERIES).astype(str), np.arange(GALLERY).astype(str), indices, scores).save(
        "rows.npz"
    )
    Ranking(
        [f"q/{name}.jpg" for name in asked],
        [f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg" for name in known],
        indices,
        scores,
    ).save("paths.npz")
    (tmp_path / "q.txt").write_text("\n".join(asked) + "\n")
    (tmp_path / "g.csv").write_text("url,id\n" + "".join(f"x,{name}\n" for name in known))
    (tmp_path / "test.csv").write_text(
        "id\nnew\n" + "".join(f"{name}\n" for name in reversed(asked))
    )
    (tmp_path / "index.csv").write_text("id\n" + "".join(f"{name}\n" for name in known))
    return tmp_path


def retrieval(ranking="rows.npz", **more):
    names = {"ids_of_queries": "q.txt", "ids_of_gallery": "g.csv"} if ranking == "rows.npz" else {}
    return submit_file("gldv2-retrieval", ranking, "sub.csv", **{**names, **more})


def test_row_numbers_are_handed_in_under_their_names(home):
    """landmark row 57."""
    assert retrieval() == "6 queries, 100 images each: sub.csv"
    ranking, names = Ranking.load("rows.npz"), read_names("g.csv")
    answers = dict(gldv2.read_retrieval("sub.csv"))
    assert list(answers) == read_names("q.txt")
    for row, found in enumerate(answers.values()):
        assert found == [names[column] for column in ranking.indices[row, :100]]


def test_paths_and_row_numbers_give_the_same_file(home):
    retrieval()
    rows = (home / "sub.csv").read_bytes()
    retrieval("paths.npz")
    assert (home / "sub.csv").read_bytes() == rows


def test_queries_of_the_test_list_that_are_not_ranked_get_an_empty_row(home):
    retrieval(queries="test.csv", gallery="index.csv")
    lines = (home / "sub.csv").read_text().splitlines()
    assert lines[:2] == ["id,images", "new,"] and len(lines) == 8
    told = check_file("gldv2-retrieval", "sub.csv", "test.csv", "index.csv")
    assert "7 queries, 6 answered, 100 answers at most" in told


def test_digix_gets_ten_answers_of_every_query(home):
    assert (
        submit_file("digix", "rows.npz", "d.csv", "q.txt", "g.csv")
        == "6 queries, 10 images each: d.csv"
    )
    assert {len(names) for _, names in digix.read_submission("d.csv")} == {10}
    assert "6 queries, 6 answered, 10 answers at most" in check_file(
        "digix", "d.csv", "q.txt", "g.csv"
    )


def test_row_numbers_without_names_are_not_handed_in(home):
    with pytest.raises(
        UsageError, match="gallery are known by their row numbers.*--ids-of-gallery"
    ):
        submit_file("gldv2-retrieval", "rows.npz", "sub.csv", "q.txt")
    assert not (home / "sub.csv").exists()


def test_names_that_do_not_fit_are_refused(home):
    (home / "few.txt").write_text("a\nb\n")
    with pytest.raises(ArtefactError, match="queries are 6, few.txt has 2 names"):
        retrieval(ids_of_queries="few.txt")
    with pytest.raises(ArtefactError, match="have ids of their own"):
        retrieval("paths.npz", ids_of_gallery="g.csv")
    (home / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match="twice.txt:3: name 'a' stands in line 1"):
        retrieval(ids_of_queries="twice.txt")


def test_an_image_outside_the_index_or_a_query_outside_the_test_is_named(home):
    (home / "short.csv").write_text("id\n" + "\n".join(read_names("index.csv")[:-1]) + "\n")
    with pytest.raises(DataError, match="not in the gallery"):
        retrieval(gallery="short.csv")
    with pytest.raises(DataError, match="not among the 130 test images"):
        retrieval(queries="index.csv")
    with pytest.raises(DataError, match="queries"):
        submit_file("digix", "rows.npz", "d.csv", "q.txt", "g.csv", queries="index.csv")
    assert not (home / "sub.csv").exists() and not (home / "d.csv").exists()


@pytest.mark.parametrize(
    "kind, content, told",
    [
        ("gldv2-retrieval", "id,images\na,x x\nb,\n", "twice"),
        ("gldv2-retrieval", "id,images\na,x y\na,x\n", "sub.csv:3"),
        ("gldv2-retrieval", "id,images\na,x\n", "1 of 2 queries are missing, the first is 'b'"),
        ("gldv2-retrieval", "id,images\na,x\nb,z\n", "'z', which is not in the gallery"),
        ("gldv2-retrieval", "id,landmarks\na,1 0.5\n", "sub.csv:1: the header must be id,images"),
        ("gldv2-recognition", "id,landmarks\na,1 0.5\nb,nan\n", "sub.csv:3"),
        ("gldv2-recognition", "id,landmarks\na,1 0.5\n", "the first is 'b'"),
        ("digix", "a,{x}\nb,{x,y,w}\n", "query 'a' has 1 answers, must have 3 to 10"),
        ("digix", "a,x\n", "sub.csv:1: expected query,{first"),
    ],
)
def test_what_would_be_refused_is_told_before_it_is_handed_in(home, kind, content, told):
    """landmark row 56."""
    for name, text in (("sub.csv", content), ("asked.txt", "a\nb\n"), ("known.txt", "x\ny\nw\n")):
        (home / name).write_text(text)
    gallery = None if kind == "gldv2-recognition" else "known.txt"
    with pytest.raises(DataError, match=told):
        check_file(kind, "sub.csv", "asked.txt", gallery)


def test_a_recognition_submission_is_checked(home):
    (home / "sub.csv").write_text("id,landmarks\na,7 0.5\nb,\n")
    assert "2 queries, 1 answered" in check_file("gldv2-recognition", "sub.csv", "sub.csv")
    with pytest.raises(UsageError, match="leave out --gallery"):
        check_file("gldv2-recognition", "sub.csv", gallery="g.csv")


def test_label_files_of_digix_name_images_too(home):
    (home / "label.txt").write_text("DIGIX_000000/a.jpg,0\nDIGIX_000000/b.jpg,1\n")
    assert read_names("label.txt") == ["DIGIX_000000/a.jpg", "DIGIX_000000/b.jpg"]


@pytest.mark.parametrize(
    "args, code, told",
    [
        (
            [
                "gldv2-retrieval",
                "--ranking",
                "rows.npz",
                "--ids-of-queries",
                "q.txt",
                "--ids-of-gallery",
                "g.csv",
            ],
            0,
            "6 q",
        ),
        (["digix", "--ranking", "paths.npz"], 0, "6 queries, 10 images"),
        (["digix", "--ranking", "rows.npz"], 2, "--ids-of-queries"),
        (["gldv2-retrieval", "--ranking", "none.npz"], 3, "none.npz: no such file"),
        (
            ["gldv2-retrieval", "--ranking", "paths.npz", "--queries", "none.csv"],
            3,
            "none.csv: cannot be read",
        ),
        (
            ["gldv2-retrieval", "--ranking", "rows.npz", "--ids-of-queries", "g.csv"],
            5,
            "has 130 names",
        ),
        (
            ["gldv2-retrieval", "--ranking", "none.npz", "--out", "q.txt/x"],
            2,
            "q.txt: cannot be written",
        ),
        (["check", "--kind", "digix", "--file", "q.txt"], 3, "q.txt:1"),
        (["check", "--kind", "revisited", "--file", "q.txt"], 2, "invalid choice"),
        ([], 2, "what"),
    ],
)
def test_the_tool_ends_with_the_code_of_its_fault(home, args, code, told):
    if args and args[0] != "check" and "--out" not in args:
        args = [*args, "--out", "sub.csv"]
    done = processes.run("submit.py", *args, cwd=home)
    assert done.returncode == code, done.stderr
    assert told in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert (home / "sub.csv").exists() == (code == 0)
