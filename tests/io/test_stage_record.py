"""Stage records: finished is what has the same inputs and the same files."""

import json

import pytest

from fastseek.io.digests import digest
from fastseek.io.stage_record import StageRecord, describe_differences

INPUTS = {"seed": 0, "recipe": {"SOLVER.BASE_LR": 0.1, "SEEK.TRAIN": ["resize(32)"]}}


@pytest.fixture
def record(tmp_path):
    """A finished stage of two files."""
    made = StageRecord(tmp_path, INPUTS)
    (tmp_path / "sub").mkdir()
    for name in ("a.bin", "sub/b.bin"):
        (tmp_path / name).write_bytes(name.encode())
    made.finish([tmp_path / "a.bin", tmp_path / "sub" / "b.bin"], {"row": {"name": "x"}})
    return made


def test_a_finished_stage_is_found_with_its_files_and_results(record, tmp_path):
    assert record.is_finished() and record.refusal() == ""
    stage = record.load()
    assert stage.results == {"row": {"name": "x"}} and set(stage.files) == {"a.bin", "sub/b.bin"}
    assert stage.path("sub/") == tmp_path / "sub" / "b.bin"
    assert json.loads((tmp_path / "stage.json").read_text())["inputs"] == INPUTS


def test_the_stage_that_was_finished_and_the_one_read_again_are_one(tmp_path):
    (tmp_path / "a").write_text("1")
    record = StageRecord(tmp_path, {"sizes": (1, 2), "rate": float("inf")})
    made = record.finish([tmp_path / "a"], {})
    assert record.load() == made and record.load().mark == made.mark


def test_F40_results_come_back_in_the_order_they_were_given_in(tmp_path):
    record = StageRecord(tmp_path, INPUTS)
    record.finish([], {"row": {"name": "x", "metrics": {"top1": 1.0, "map(10)": 2.0, "cmc": 3.0}}})
    assert list(record.load().results["row"]["metrics"]) == ["top1", "map(10)", "cmc"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"recipe": {**INPUTS["recipe"], "SOLVER.BASE_LR": 0.2}}, "SOLVER.BASE_LR: 0.1 -> 0.2"),
        ({"more": 1}, "more: missing -> 1"),
    ],
)
def test_other_inputs_are_another_stage_and_the_difference_is_named(
    record, tmp_path, changed, reason
):
    other = StageRecord(tmp_path, {**INPUTS, **changed})
    assert not other.is_finished() and other.load() is None and not other.has_same_inputs()
    assert reason in other.refusal()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "a.bin is missing"),
        (lambda path: path.write_bytes(b"a.bix"), "a.bin is not as it was written"),
        (lambda path: path.write_bytes(b""), "a.bin is not as it was written"),
    ],
)
def test_a_file_that_is_missing_or_another_makes_it_unfinished(record, tmp_path, damage, reason):
    damage(tmp_path / "a.bin")
    assert record.refusal() == reason and record.load() is None
    assert record.has_same_inputs(), "so that the work can go on"


def test_files_that_are_needed_are_looked_for_though_the_record_does_not_list_them(
    record, tmp_path
):
    assert StageRecord(tmp_path, INPUTS, needs=("a.bin",)).is_finished()
    assert "c.bin" in StageRecord(tmp_path, INPUTS, needs=("c.bin",)).refusal()


def test_a_stage_that_was_begun_is_known_again_and_not_finished(tmp_path):
    record = StageRecord(tmp_path, INPUTS)
    assert not record.has_same_inputs() and "stage.json" in record.refusal()
    record.begin()
    assert record.has_same_inputs() and not record.is_finished()
    assert not StageRecord(tmp_path, {"seed": 1}).has_same_inputs()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2}', '{"format": 3, "digest": ""}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "stage.json").write_text(text)
    assert "that can be read" in StageRecord(tmp_path, INPUTS, former=("",)).refusal()


def test_records_of_earlier_versions_stay_finished(tmp_path):
    (tmp_path / "a").write_text("1")
    sha = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    old = {"format": 1, "digest": "d", "files": {"a": sha}, "told": {"kind": "train"}}
    (tmp_path / "stage.json").write_text(json.dumps(old))
    (tmp_path / "before.json").write_text(json.dumps({"of": {"seed": 0}, "row": {"name": "x"}}))
    (tmp_path / "done.json").write_text(json.dumps({"step": "x", "seconds": 1.5}))
    stage = StageRecord(tmp_path, INPUTS, former=("d",)).load()
    assert stage.results == {"kind": "train"} and stage.mark == digest(
        {"digest": "d", "files": {"a": sha}}
    )
    assert not StageRecord(tmp_path, INPUTS).is_finished()
    before = StageRecord(tmp_path, {"seed": 0}, "before.json")
    assert before.load().results == {"row": {"name": "x"}}
    assert "seed: 0 -> 1" in StageRecord(tmp_path, {"seed": 1}, "before.json").refusal()
    done = StageRecord(tmp_path, INPUTS, "done.json", former=("",), needs=("a",))
    assert done.load().results["seconds"] == 1.5
    assert not StageRecord(tmp_path, INPUTS, "done.json").is_finished()


def test_digests_do_not_depend_on_the_order_of_keys_or_the_kind_of_list():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1}) != digest({"a": 1})


def test_long_differences_are_cut():
    text = describe_differences({}, {str(number): number for number in range(9)})
    assert text.startswith("0: missing -> 0; ") and text.endswith("and 4 more")
