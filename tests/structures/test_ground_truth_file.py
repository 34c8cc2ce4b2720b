import dataclasses
import json

import numpy as np
import pytest

from fastseek.cli._score import score_file, text_table
from fastseek.errors import ArtefactError, DataError
from fastseek.metrics import evaluate, interval
from fastseek.structures import GroundTruth, Ranking
from fastseek.structures.ground_truth_file import read_truth

CALLS = ["map(100)", "recall(1, 2)", "gap()"]


def ranking():
    return Ranking(
        ["q1", "q2", "q3"],
        ["a1", "a2", "b1"],
        [[1, 0, 2], [2, 0, 1], [0, 1, 2]],
        [[3, 2, 1], [9, 2, 1], [5, 4, 3]],
    )


def truth():
    return GroundTruth.from_labels(
        ["q1", "q2", "q3"], ["a", "a", ""], ["a1", "a2", "b1"], ["a", "a", "b"]
    )


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


SPLIT = "id,label,split\nq1,a,query\nq2,a,query\nq3,,query\na1,a,gallery\na2,a,gallery\nb1,b,gallery\nz,z,train\n"
PLAIN = "\ufefflabel,id,other\na,q1,\na,q2,\n,q3,\na,a1,\na,a2,\nb,b1,\nb,unused,\n"


@pytest.mark.parametrize("text", [SPLIT, PLAIN])
def test_a_csv_truth_is_the_truth_by_labels(tmp_path, text):
    read = read_truth(write(tmp_path / "t.csv", text), ranking())
    for name in (
        "query_ids",
        "gallery_ids",
        "relevant_starts",
        "relevant",
        "junk",
        "query_labels",
        "gallery_labels",
    ):
        np.testing.assert_array_equal(getattr(read, name), getattr(truth(), name))


def test_F16_white_space_round_a_label_makes_no_other_class(tmp_path):
    text = "id,label,split\nq,a ,query\nx, a,gallery\ny,b\t,gallery\nz,a,gallery\n"
    read = read_truth(write(tmp_path / "t.csv", text), ranking())
    assert read.relevant_to(0).tolist() == [0, 2]


def test_groups_of_a_csv_make_junk(tmp_path):
    text = "id,label,split,group\nq,a,query,1\nx,a,gallery,1\ny,a,gallery,2\nz,a,gallery,\n"
    read = read_truth(write(tmp_path / "t.csv", text), ranking())
    assert read.junk_of(0).tolist() == [0] and read.relevant_to(0).tolist() == [1, 2]


def test_row_numbers_of_two_files_name_different_photos_and_those_of_one_set_the_same(tmp_path):
    rows = Ranking(["0", "1"], ["0", "1", "2"], [[0, 1, 2], [1, 0, 2]], [[3, 2, 1], [3, 2, 1]])
    split = "id,label,split\n0,a,query\n1,b,query\n0,a,gallery\n1,b,gallery\n2,a,gallery\n"
    two = evaluate(rows, read_truth(write(tmp_path / "t.csv", split), rows), ["recall(1)"])
    assert two[0].value == 1 and two[0].protocol["self_match"] == "none: ids are row numbers"
    root = {"root": "/vectors/all.npy"}
    same = dataclasses.replace(rows, provenance={"queries": root, "gallery": root})
    one = evaluate(
        same,
        read_truth(write(tmp_path / "u.csv", "id,label\n0,a\n1,b\n2,a\n"), same),
        ["recall(1)"],
    )
    assert one[0].value == 0 and one[0].protocol["self_match"] == "junk"


def test_one_id_on_both_sides_is_fine_with_and_without_split(tmp_path):
    same = Ranking(["x", "y"], ["x", "y"], [[0, 1], [1, 0]], [[2, 1], [2, 1]])
    for text in (
        "id,label\nx,a\ny,a\n",
        "id,label,split\nx,a,query\ny,a,query\nx,a,gallery\ny,a,gallery\n",
    ):
        scores = evaluate(same, read_truth(write(tmp_path / "t.csv", text), same), ["map()"])
        assert scores[0].value == 1


def test_an_npz_truth_is_read_as_it_was_saved(tmp_path):
    truth().save(tmp_path / "t.npz")
    np.testing.assert_array_equal(
        read_truth(tmp_path / "t.npz", ranking()).relevant, truth().relevant
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,label\nq1,a\nq1,b\n", r"t\.csv:3: id 'q1' stands in row 2"),
        ("id,class\nq1,a\n", "no column label"),
        ("id,label\n", "no row"),
        ("", "no column id and label"),
        ('id,label\n"q1,a\n', "not a CSV"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_with_its_row(tmp_path, text, told):
    with pytest.raises(DataError, match=told):
        read_truth(write(tmp_path / "t.csv", text), ranking())


def test_files_that_are_not_there_or_not_text_are_refused(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"id,label\n\xff\xfe,\xff\n")
    for name in ("none.csv", "none.npz", "b.csv"):
        with pytest.raises(DataError, match=name):
            read_truth(tmp_path / name, ranking())


def test_an_image_of_the_ranking_that_the_csv_does_not_know_is_named(tmp_path):
    with pytest.raises(ArtefactError, match="1 of 3 .*'b1'"):
        read_truth(write(tmp_path / "t.csv", PLAIN.replace(",b1,", ",b2,")), ranking())


def test_scores_of_files_are_those_in_memory(tmp_path):
    ranking().save(tmp_path / "r.npz")
    expected = {score.name: score.value for score in evaluate(ranking(), truth(), CALLS)}
    table = score_file(
        tmp_path / "r.npz", write(tmp_path / "t.csv", SPLIT), CALLS, tmp_path / "s.json"
    )
    written = json.loads((tmp_path / "s.json").read_text())
    assert set(written["protocol"]) == set(expected)
    assert {**expected, "protocol": written["protocol"]} == written
    assert all(name in table and f"{value:.4f}" in table for name, value in expected.items())
    assert json.loads(score_file(tmp_path / "r.npz", tmp_path / "t.csv", CALLS, "-")) == written


def test_the_table_shows_intervals_and_what_was_left_out():
    scores = evaluate(ranking(), truth(), ["map(100)", "gap()"])
    lines = text_table(scores).splitlines()
    low, high = interval(scores[0].per_query)
    assert f"{low:.4f}-{high:.4f}" in lines[1] and lines[1].endswith("2 (1 without answer)")
    assert " - " in lines[2]
