"""Runs that differ in their seed, as one table."""

import json
import statistics
import subprocess
import sys

import pytest

from fastseek.errors import ArtefactError, DataError
from fastseek.report.results import row, write_results
from fastseek.report.several_runs import join_runs
from fastseek.report.widgets import steps_table
from fastseek.structures import Score


def _row(name, value, span=None, seconds=1.0):
    row = {"name": name, "metrics": {"map": value}, "seconds": seconds}
    return row | ({"interval": {"map": span}} if span else {})


def test_a_row_is_the_mean_of_the_runs_with_their_standard_deviation():
    values = [0.5, 0.6, 0.9]
    spans = [[0.4, 0.6], [0.5, 0.7], [0.9, 1.0]]
    rows, missing = join_runs([[_row("a", *one)] for one in zip(values, spans, strict=True)])
    (row,) = rows
    assert row["metrics"]["map"] == pytest.approx(statistics.mean(values))
    assert row["metrics"]["map spread"] == pytest.approx(statistics.stdev(values))
    assert row["interval"]["map"] == pytest.approx([0.6, 2.3 / 3])
    assert row["seconds"] == 3 and missing == []


def test_rows_that_a_run_lacks_are_left_out_and_named():
    rows, missing = join_runs([[_row("a", 0.1), _row("b", 0.1)], [_row("c", 0.3), _row("b", 0.3)]])
    assert [row["name"] for row in rows] == ["b"] and missing == ["a", "c"]


def test_an_interval_that_one_run_lacks_is_none():
    (row,), _ = join_runs([[_row("a", 0.1, [0, 1])], [_row("a", 0.1)]])
    assert "interval" not in row


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([[_row("a", 0.1)]], "1 runs: two or more"),
        ([[_row("a", 0.1), _row("a", 0.2)], [_row("a", 0.1)]], "'a' stands twice"),
        ([[_row("a", 0.1)], [{"name": "a", "metrics": {"gap": 1.0}}]], "'a' has map in some runs"),
    ],
)
def test_runs_that_do_not_fit_are_refused(runs, words):
    with pytest.raises(DataError, match=words):
        join_runs(runs)


def test_the_tool_writes_what_a_readme_prints_and_refuses_two_commits(tmp_path):
    files = [tmp_path / f"{seed}.json" for seed in range(2)]
    for seed, file in enumerate(files):
        run = {"rows": [_row("a", 0.25 + 0.5 * seed)], "commit": "abc", "seed": seed}
        file.write_text(json.dumps(run))
    command = [sys.executable, "tools/seeds.py", *map(str, files), "--out", str(tmp_path / "out")]
    subprocess.run(command, check=True)
    written = json.loads((tmp_path / "out").read_text())
    assert written["rows"][0]["metrics"]["map"] == 0.5 and written["commit"] == "abc"

    run["commit"] = "def"
    files[1].write_text(json.dumps(run))
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "several commits: abc, def" in again.stderr


def test_figures_of_two_protocols_are_neither_averaged_nor_put_into_one_table(tmp_path):
    hard, easy = (
        row("after", [Score("map", 0.5, None, {"protocol": "revisited", "task": task})], 1.0)
        for task in ("hard", "easy")
    )
    assert hard["protocol"] == "revisited, hard"
    write_results(tmp_path / "results.json", [hard], "", 0, {"model": "m"})
    assert json.loads((tmp_path / "results.json").read_text())["model"] == "m"
    assert join_runs([[hard], [hard]])[0][0]["protocol"] == "revisited, hard"
    for compare in (lambda: join_runs([[hard], [easy]]), lambda: steps_table([hard, easy])):
        with pytest.raises(ArtefactError, match="revisited, hard.* revisited, easy"):
            compare()
    unnamed = row("before", [Score("map", 0.5)])
    assert "protocol" not in unnamed and len(steps_table([unnamed, easy])[1]) == 2
