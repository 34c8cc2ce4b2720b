"""The recipes, the table and the plans of Sorghum-100 say what was stated."""

import dataclasses
import pathlib

import pytest
from msgspec import structs

from fastseek.config import recipe
from fastseek.errors import UsageError
from fastseek.registry import parse
from fastseek.training.memory_estimate import memory_of
from fastseek.workflows.ablation.spec import read_ablation
from fastseek.workflows.check_recipe import check
from fastseek.workflows.self_training.images import image_pools_of
from fastseek.workflows.self_training.spec import read_rounds

HOME = pathlib.Path(__file__).parents[2] / "projects" / "Sorghum100"


@pytest.mark.parametrize("name", ["regnety_512", "regnety_960", "regnety_960_dropout"])
def test_every_member_is_regnety_16gf_at_its_size(name):
    """finegrained row 57: 83.6 million parameters with ImageNet's classifier of 3.0 million, which
    is not built.
    """
    cfg = recipe.load(HOME / "configs" / f"{name}.yml")
    found = memory_of(cfg)
    side = 512 if "512" in name else 960
    assert found.size == (side, side) and parse(cfg.SEEK.TEST[0])[1] == [(side, side)]
    assert found.weights / 4e6 == pytest.approx(83.6 - 3.0, abs=0.2), "and the running statistics"
    assert "'regnety_160.deit_in1k'" in cfg.SEEK.BACKBONE


def test_the_preset_of_augmentation_is_crop_flip_and_autoaugment():
    """finegrained row 63."""
    for name in ("regnety_512", "regnety_960"):
        first, *rest = recipe.load(HOME / "configs" / f"{name}.yml").SEEK.TRAIN
        assert parse(first)[0] in ("random_resized_crop", "attended_crop")
        assert [parse(call)[0] for call in rest] == ["hflip", "auto_augment"]


def test_dropout_begins_late_and_views_vote():
    """finegrained row 66, row 67."""
    seek = recipe.load(HOME / "configs" / "regnety_960_dropout.yml").SEEK
    _, _, given = parse(seek.BRANCHES[0])
    assert given["dropout"] > 0 and 0 < given["dropout_from"] < 1
    assert [parse(call)[0] for call in seek.VIEWS] == [
        "hflip",
        "scale",
    ] and seek.VOTE == "probabilities"


def test_the_table_has_the_steps_of_the_source_in_order():
    """finegrained row 68: the last step is the ensemble under a refitted head."""
    for long in (False, True):
        found = read_ablation(HOME / "ablation.yml", long)
        assert [step.name for step in found.steps] == [
            "64 pixels",
            "96 pixels",
            "+ AutoAugment",
            "+ attention crop",
            "the same, 5 epochs",
            "+ pseudo labels",
            "+ late dropout",
            "+ test views",
            "+ ensemble",
        ]
        assert found.class_metrics == ("top(1)", "class_mean") and found.steps[-1].members == (
            (7, 1.0),
            (1, 1.0),
        )
        assert [bool(step.plan) for step in found.steps] == [False] * 5 + [True] * 3 + [False]
        assert [step.before for step in found.steps[-4:]] == [4, 5, 6, 1]
        assert found.seeds == (0, 1, 2)


@pytest.mark.parametrize("name", ["pseudo", "grocery"])
def test_the_loop_learns_from_test_photos_and_says_so(name):
    """finegrained row 64, row 65; trap 25."""
    text = (HOME / "plans" / f"{name}.yml").read_text()
    plan = read_rounds(HOME / "plans" / f"{name}.yml")
    assert "TEST_DATA: true" in text and plan.rounds >= 2
    assert [step.kind for step in plan.steps] == ["train", "classify", "pseudo", "train"]
    assert plan.steps[2].spec.threshold == (0.9, 0.7) and plan.steps[2].spec.cap > 0


def test_F53_without_the_switch_sorghums_own_plan_refuses_its_test_images(tmp_path, monkeypatch):
    home = tmp_path / "sorghum"
    for number in range(4):
        home.mkdir(exist_ok=True)
        (home / f"{number}.jpg").write_bytes(bytes(20 + number))
    (home / "photos.csv").write_text("path,label,split\n0.jpg,a,train\n1.jpg,a,query\n")
    (home / "test.csv").write_text("path\n2.jpg\n3.jpg\n")  # the contest's list has no splits
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    plan = read_rounds(HOME / "plans" / "pseudo.yml")
    assert len(image_pools_of(plan, tmp_path / "out").unlabelled) == 2
    strict = dataclasses.replace(plan, data=structs.replace(plan.data, test_data=False))
    with pytest.raises(UsageError, match="2 of 2 unlabelled images are test images"):
        image_pools_of(strict, tmp_path / "out")


def test_plans_of_rounds_are_read_and_not_run_by_the_check():
    outcomes = list(check([HOME / "plans" / "pseudo.yml"]))
    assert [(one.failed, one.summary) for one in outcomes] == [
        (False, "legal, 4 rounds of 4 steps")
    ]
