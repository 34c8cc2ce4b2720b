import csv
import json

import numpy as np
import pytest

from fastseek import cli
from fastseek.cli._search import read_side
from fastseek.metrics import evaluate
from fastseek.registry import SEARCHERS, build
from fastseek.structures.ground_truth_file import read_truth

SIZES = {"exact(k=20)": 128, "binary(k=20, rescore=1)": 8}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    home = tmp_path_factory.mktemp("codes")
    random = np.random.default_rng(0)
    labels = np.arange(90) % 30
    vectors = random.normal(size=(30, 32))[labels] + random.normal(size=(90, 32))
    np.save(home / "q.npy", vectors[:30].astype(np.float32))
    np.save(home / "g.npy", vectors[30:].astype(np.float32))
    rows = [f"{row},{labels[row]},query" for row in range(30)]
    rows += [f"{row},{labels[row + 30]},gallery" for row in range(60)]
    (home / "t.csv").write_text("\n".join(["id,label,split", *rows]) + "\n")
    return home


def run(files, *more):
    sides = ["--queries", f"{files}/q.npy", "--gallery", f"{files}/g.npy"]
    cli.call_verb("codes", [*sides, "--truth", f"{files}/t.csv", "-k", "20", *map(str, more)])


def test_a_row_holds_the_bytes_and_the_score_of_its_search(files, tmp_path, capsys):
    searches = [word for call in SIZES for word in ("--search", call)]
    run(files, "--metric", "map(20)", "--out", tmp_path / "codes.csv", *searches)
    with open(tmp_path / "codes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["code"]: int(row["bytes"]) for row in rows} == SIZES
    queries, gallery = read_side(files / "q.npy"), read_side(files / "g.npy")
    for row in rows:
        ranking = build(row["code"], SEARCHERS)(queries, gallery)
        (score,) = evaluate(ranking, read_truth(files / "t.csv", ranking), ["map(20)"])
        assert float(row["value"]) == pytest.approx(score.value)
        assert float(row["low"]) <= score.value <= float(row["high"])
    assert float(rows[0]["recall"]) == 1.0 > float(rows[1]["recall"])
    printed = capsys.readouterr().out
    assert all(call in printed for call in SIZES) and "map(20)" in printed


@pytest.mark.parametrize(("shorten", "part"), [("pca", "pca(dim=8)"), ("first", "truncate(dim=8)")])
def test_shorter_vectors_have_rows_of_their_own(files, tmp_path, shorten, part):
    out = tmp_path / "codes.json"
    call = "exact(k=20)"
    run(files, "--dims", 8, "--shorten", shorten, "--search", call, "--out", out)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["code"], row["numbers"], row["bytes"]) for row in rows] == [
        (call, 32, 128),
        (f"{part}, {call}", 8, 32),
    ]
    run(files, "--search", call, "--out", out)  # a table of its own is replaced unasked


def test_the_usual_codes_go_from_whole_numbers_to_single_bits(files, capsys):
    run(files)
    printed = capsys.readouterr().out
    for code in ("exact", "bfloat16", "int8", "binary", "faiss_rabitq", "faiss_pq"):
        assert code in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--dims", "33"), "the vectors have 32 numbers"),
        (("--out", "codes.npz"), "as .csv or .json"),
        (("--search", "nearest()"), "no searcher is called 'nearest'"),
    ],
)
def test_mistakes_are_told(files, words, told, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(
            [
                "codes",
                "--queries",
                f"{files}/q.npy",
                "--gallery",
                f"{files}/g.npy",
                "--truth",
                f"{files}/t.csv",
                *words,
            ]
        )
    assert left.value.code == 2 and told in capsys.readouterr().err
