"""The recipes and plans of Semi-Supervised iNat 2021 say what was stated."""

import pathlib

import pytest
import torch

from fastseek.classification import class_numbers
from fastseek.config import recipe
from fastseek.config.edits import without_pretrained
from fastseek.io.json_files import write_json
from fastseek.modeling import freezing
from fastseek.modeling.build import build_model
from fastseek.training import lr_groups
from fastseek.workflows.self_training.spec import read_rounds

HOME = pathlib.Path(__file__).parents[2] / "projects" / "SemiINat2021"
PLANS = sorted((HOME / "plans").glob("*.yml"))
SEMI = ["full", "full_nfnet", "full_resnet50", "small"]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_plan_is_legal(path):
    plan = read_rounds(path)
    assert (
        plan.rounds >= 2 and plan.steps[0].spec.once and class_numbers(["a"], ["a"]).tolist() == [0]
    )


@pytest.mark.parametrize("name", SEMI)
def test_the_stated_steps_come_in_the_stated_order(name):
    """finegrained rows 80 to 88."""
    plan = read_rounds(HOME / "plans" / f"{name}.yml")
    steps = [step for step in plan.steps if step.name != "control"]  # stands beside the loop
    kinds = [step.kind for step in steps]
    assert kinds[:12] == [
        "train",
        "embed",
        "cluster",
        "select",
        "train",
        "train",
        "embed",
        "classify",
        "pseudo",
        "recluster",
        "select",
        "train",
    ]
    assert {step.kind for step in steps[12:]} == {"train"} and plan.stop.gain == 0.002
    named = {step.name: step for step in plan.steps}
    assert named["pretrained1"].spec.images == ("kept",) and named["again"].spec.images == "pseudo"
    assert plan.steps[-1].spec.images == ("labelled",)


@pytest.mark.parametrize(("name", "frozen"), [("resnest269e", ["norms"]), ("nfnet_f3", ["gain"])])
def test_big_models_are_tuned_in_one_stage_by_layer_with_frozen_norms_and_balanced_classes(
    name, frozen
):
    """finegrained row 86."""
    cfg = recipe.load(HOME / "configs" / f"{name}_tuned.yml")
    assert (cfg.SEEK.FREEZE, cfg.SEEK.RATES, cfg.SEEK.SAMPLER) == (
        frozen,
        ["stage_decay: 0.5"],
        "imbalanced()",
    )
    assert cfg.SOLVER.BASE_LR == 1e-3 and 20 <= cfg.SOLVER.MAX_EPOCH <= 30


def test_small_models_are_tuned_in_two_stages():
    """finegrained row 87."""
    first, second = (
        recipe.load(HOME / "configs" / f"resnet50_{name}.yml") for name in ("tuned", "balanced")
    )
    assert (first.SEEK.FREEZE, first.SEEK.SAMPLER) == (["norms"], "shuffle()")
    assert (second.SEEK.FREEZE, second.SEEK.SAMPLER) == (["backbone"], "imbalanced()")
    assert (
        second.SOLVER.BASE_LR == pytest.approx(first.SOLVER.BASE_LR / 10)
        and second.SOLVER.MAX_EPOCH == 10
    )


def test_every_training_has_the_prototype_loss():
    """finegrained row 85."""
    for path in sorted((HOME / "configs").glob("[!B]*.yml")):
        losses = recipe.load(path).SEEK.LOSSES
        assert any(call.startswith("prototype(") and "weight=0.5" in call for call in losses), (
            path.name
        )


@pytest.fixture
def small_model(tmp_path):
    """The small model without its weights."""
    write_json(tmp_path / "classes.json", {"labels": ["a", "b", "c"], "counts": [3, 2, 1]})
    cfg = without_pretrained(
        recipe.load(
            HOME / "configs" / "small.yml", ["SEEK.CLASSES", str(tmp_path / "classes.json")]
        )
    )
    cfg.defrost()
    cfg.MODEL.HEADS.NUM_CLASSES = 3
    return build_model(cfg)


def test_what_the_small_plan_freezes_and_drops_is_there(small_model):
    """finegrained rows 86 and 87."""
    plan = read_rounds(HOME / "plans" / "small.yml")
    final = plan.steps[-1]
    assert all(
        any(fragment in name for name in small_model.state_dict()) for fragment in final.spec.drop
    )
    assert lr_groups.factors(small_model, ["backbone: 0.5"])
    frozen = freezing.freeze(small_model, ["backbone"])
    left = {
        name.split(".")[0]
        for name, parameter in small_model.named_parameters()
        if parameter.requires_grad
    }
    assert left == {"branches", "losses"} and frozen.modules


def test_the_norms_of_the_small_model_rest_whoever_calls_train(small_model):
    """finegrained row 86, trap 12."""
    frozen = freezing.freeze(small_model, recipe.load(HOME / "configs" / "small.yml").SEEK.FREEZE)
    small_model.train()
    frozen.apply()
    norms = [module for module in small_model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(module.training for module in norms)
    assert not any(parameter.requires_grad for module in norms for parameter in module.parameters())


def test_test_photos_are_learned_from_only_where_the_task_allowed_it():
    """finegrained row 65, trap 25."""
    assert {path.stem for path in PLANS if read_rounds(path).data.test_data} == {"pseudo_labels"}
