import json

import pytest

from fastseek.errors import UsageError
from fastseek.report.readme import fill

RUN = {
    "rows": [
        {"name": "before", "metrics": {"map": 0.5}, "seconds": 3},
        {"name": "after", "metrics": {"map": 0.75, "gap": 1}, "interval": {"map": [0.7, 0.8]}},
    ]
}
BENCH = {"rows": [{"images": 1000, "ours": {"cpu": 0.029}}, {"images": 20000, "peer": 2400.0}]}


@pytest.fixture
def root(tmp_path):
    for name, value in (("run.json", RUN), ("bench.json", BENCH)):
        (tmp_path / name).write_text(json.dumps(value))
    return tmp_path


def _filled(root, marker):
    return fill(
        f"text\n<!-- results: {marker} -->\nold\n<!-- /results -->\nmore\n", root
    ).splitlines()


def test_a_run_is_printed_in_percent_with_its_intervals(root):
    head = ["|  | map | gap | seconds |", "| --- | --- | --- | --- |"]
    body = ["| before | 50.0 | - | 3 |", "| after | 75.0 (70.0 to 80.0) | 100.0 | 0 |"]
    assert _filled(root, "run.json")[2:6] == head + body


def test_a_benchmark_is_printed_by_the_named_columns(root):
    lines = _filled(root, "bench.json columns: images=Images; ours.cpu=Ours, s; peer=Peer")
    assert lines[2:6] == [
        "| Images | Ours, s | Peer |",
        "| --- | --- | --- |",
        "| 1,000 | 0.029 | - |",
        "| 20,000 | - | 2,400 |",
    ]


def test_printing_twice_changes_nothing_and_the_text_around_stays(root):
    once = "\n".join(_filled(root, "run.json"))
    assert fill(once, root) == once and once.startswith("text\n") and once.endswith("more")


def test_a_benchmark_without_columns_is_refused_with_the_form(root):
    with pytest.raises(UsageError, match="columns: key=Head"):
        _filled(root, "bench.json")


def test_the_spread_between_trainings_stands_beside_the_interval_over_queries(root):
    metrics = {"map": 0.5, "map spread": 0.02}
    rows = [{"name": "step", "metrics": metrics, "interval": {"map": [0.4, 0.6]}, "seconds": 1}]
    (root / "seeds.json").write_text(json.dumps({"rows": rows}))
    assert _filled(root, "seeds.json")[2] == "|  | map | seconds |"
    assert _filled(root, "seeds.json")[4] == "| step | 50.0 ± 2.0 (40.0 to 60.0) | 1 |"
