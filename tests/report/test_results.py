"""results.json, the text table, and the bootstrap interval."""

import json

import numpy as np
import pytest

from fastseek.io.text_table import table
from fastseek.report import interval, row, write_results
from fastseek.structures import Score


def test_results_hold_rows_commit_and_seed(tmp_path):
    rows = [
        {"name": "before", "metrics": {"gap": 0.5}},
        {"name": "after", "metrics": {"gap": 0.75}, "seconds": 1.5},
    ]
    write_results(tmp_path / "new" / "results.json", rows, "abc", 3)
    assert json.loads((tmp_path / "new" / "results.json").read_text()) == {
        "rows": rows,
        "commit": "abc",
        "seed": 3,
    }


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "a"},
        {"metrics": {}},
        {"name": "a", "metrics": {"gap": float("nan")}},
        {"name": "a", "metrics": {}, "note": "x"},
        {"name": "a", "metrics": {}, "seconds": np.inf},
        {"name": "a", "metrics": {"gap": 0.1}, "interval": {"gap": [0.0, float("nan")]}},
    ],
)
def test_rows_that_are_none_are_refused_and_nothing_is_written(tmp_path, bad):
    with pytest.raises(ValueError, match="row 0"):
        write_results(tmp_path / "results.json", [bad], "", 0)
    assert not list(tmp_path.iterdir())


def test_a_row_of_scores_can_be_written_and_holds_their_intervals(tmp_path):
    scores = [Score("recall(1)", 0.5, np.array([0.0, 1.0, np.nan])), Score("gap", np.float32(0.25))]
    made = row("after", scores, 2.00049)
    write_results(tmp_path / "r.json", [made], "", 0)
    assert made["metrics"] == {"recall(1)": 0.5, "gap": 0.25} and made["seconds"] == 2.0
    assert list(made["interval"]) == ["recall(1)"]


def test_table_is_aligned_and_shows_dashes_for_what_a_row_lacks():
    rows = [
        {"name": "before", "metrics": {"gap": 0.5}},
        {"name": "x", "metrics": {"gap": 1.0, "map(100)": 0.0625}, "seconds": 3},
    ]
    assert table(rows).splitlines() == [
        "          gap  map(100)  seconds",
        "before   50.0         -        -",
        "x       100.0       6.2      3.0",
    ]
    assert table(rows, ["gap"]).splitlines()[0].split() == ["gap", "seconds"]


def test_interval_holds_the_mean_and_shrinks_with_more_queries():
    values = np.random.default_rng(0).random(100)
    few, many = (interval(Score("m", 0, np.tile(values, times))) for times in (1, 16))
    assert few[0] < values.mean() < few[1] and many[0] < values.mean() < many[1]
    assert (many[1] - many[0]) < 0.35 * (few[1] - few[0])


def test_interval_agrees_with_the_normal_one_on_many_queries():
    values = np.random.default_rng(1).random(400)
    low, high = interval(Score("m", 0, values))
    half = 1.96 * values.std() / 20
    assert (
        abs(low - (values.mean() - half)) < 0.2 * half
        and abs(high - (values.mean() + half)) < 0.2 * half
    )


def test_interval_leaves_out_uncounted_queries_and_is_none_without_a_mean():
    values = np.array([0.1, 0.9, 0.4])
    assert interval(Score("m", 0, np.append(values, np.nan))) == interval(Score("m", 0, values))
    assert (
        interval(Score("gap", 0.5)) is None
        and interval(Score("m", 0, np.array([0.5, np.nan]))) is None
    )
