import json
import pathlib

import pytest
import torch

from fastseek.errors import UsageError
from fastseek.training.trainer import Trainer


def lines(cfg):
    text = (pathlib.Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def losses(cfg):
    return [line["total_loss"] for line in lines(cfg) if "total_loss" in line]


def test_training_moves_parameters_and_lowers_the_loss(recipe_of):
    cfg = recipe_of(SOLVER__MAX_EPOCH=12)
    trainer = Trainer(cfg)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    moved = [
        name
        for name, value in trainer.model.named_parameters()
        if not torch.equal(value, before[name])
    ]
    assert len(moved) == len(list(trainer.model.parameters()))
    assert sum(losses(cfg)[-3:]) < 0.9 * sum(losses(cfg)[:3])


def test_every_step_and_every_loss_is_written_under_its_own_name(recipe_of):
    cfg = recipe_of(
        SEEK__LOSSES=["cross_entropy(on='gem')", "triplet(on='gem')"], SEEK__SAMPLER="pk(k=2)"
    )
    Trainer(cfg).train()
    steps = lines(cfg)
    assert [line["iteration"] for line in steps] == list(range(6))
    for line in steps:
        assert line["total_loss"] == pytest.approx(
            line["loss_cross_entropy"] + line["loss_triplet"]
        )
        assert line["lr"] > 0 and line["data_time"] >= 0


@pytest.mark.parametrize("period", [0, -1])
def test_without_test_sets_any_evaluation_period_trains(recipe_of, period):
    assert Trainer(recipe_of(TEST__EVAL_PERIOD=period, SOLVER__MAX_EPOCH=1)).train() is None


@pytest.mark.parametrize("period, evaluations", [(-1, 1), (0, 1), (1, 3), (2, 2), (5, 1)])
def test_the_period_counts_epochs_and_the_last_epoch_is_always_evaluated(
    recipe_of, tests_on, period, evaluations
):
    seen = []

    class Counted(Trainer):
        @classmethod
        def test(cls, cfg, model):
            seen.append(model.training)
            return {"metric": float(len(seen))}

    trainer = Counted(
        recipe_of(TEST__EVAL_PERIOD=period, DATASETS__TESTS=tests_on, SOLVER__MAX_EPOCH=3)
    )
    assert trainer.train() == {"metric": float(evaluations)}
    assert len(seen) == evaluations


def test_the_run_tells_its_classes_and_its_recipe(recipe_of):
    cfg = recipe_of()
    trainer = Trainer(cfg)
    out = pathlib.Path(cfg.OUTPUT_DIR)
    told = json.loads((out / "classes.json").read_text())
    assert told == {"labels": [f"class_{n:02d}" for n in range(6)], "counts": [6] * 6}
    assert trainer.cfg.MODEL.HEADS.NUM_CLASSES == 6 and cfg.MODEL.HEADS.NUM_CLASSES == 0
    assert "NUM_CLASSES: 6" in (out / "config.yaml").read_text()


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"SOLVER__IMS_PER_BATCH": 48}, "48"),
        ({"SOLVER__SCHED": "StepLR"}, "MultiStepLR, CosineAnnealingLR"),
        ({"SOLVER__OPT": "Adamm"}, "AdamW"),
        ({"SOLVER__BASE_LR": -1.0}, "not negative"),
        ({"MODEL__HEADS__NUM_CLASSES": 5}, "less than the 6 classes"),
        ({"SEEK__AMP_DTYPE": "fp8"}, "fp16, bf16"),
        ({"OUTPUT_DIR": ""}, "OUTPUT_DIR is empty"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_starts(recipe_of, changes, told):
    with pytest.raises(UsageError, match=told):
        Trainer(recipe_of(**changes))


def test_a_cosine_schedule_that_ends_with_the_warmup_divides_by_nothing(recipe_of):
    Trainer(recipe_of(SOLVER__SCHED="CosineAnnealingLR", SOLVER__WARMUP_ITERS=4)).train()


def test_a_failing_evaluation_leaves_every_module_in_its_mode(recipe_of, tests_on, monkeypatch):
    cfg = recipe_of(DATASETS__TESTS=tests_on)
    trainer = Trainer(cfg)
    frozen = next(trainer.model.children())
    frozen.eval()

    def fail(builders, cfg, model, name):
        model.eval()
        raise ValueError("no")

    monkeypatch.setattr("fastseek.training.evaluation._evaluate_set", fail)
    with pytest.raises(ValueError):
        trainer.test(cfg, trainer.model)
    assert trainer.model.training and not frozen.training


def test_bfloat16_trains_on_a_cpu_and_float16_falls_back_to_full_precision(recipe_of):
    exact = Trainer(recipe_of(SOLVER__MAX_EPOCH=1, SOLVER__AMP__ENABLED=True))
    assert exact.grad_scaler is None and type(exact._trainer).__name__ == "Step"
    cfg = recipe_of(SOLVER__MAX_EPOCH=1, SOLVER__AMP__ENABLED=True, SEEK__AMP_DTYPE="bf16")
    Trainer(cfg).train()
    assert all(torch.isfinite(torch.tensor(losses(cfg))))


def test_frozen_layers_stay_for_as_long_as_the_recipe_says(recipe_of):
    cfg = recipe_of(MODEL__FREEZE_LAYERS=["backbone"], SOLVER__FREEZE_ITERS=3, SOLVER__MAX_EPOCH=1)
    trainer = Trainer(cfg)
    before = [value.clone() for value in trainer.model.backbone.parameters()]
    trainer.train()
    assert all(
        torch.equal(old, new)
        for old, new in zip(before, trainer.model.backbone.parameters(), strict=True)
    )
    again = Trainer(
        recipe_of(MODEL__FREEZE_LAYERS=["backbone"], SOLVER__FREEZE_ITERS=2, SOLVER__MAX_EPOCH=1)
    )
    again.train()
    assert not all(
        torch.equal(old, new)
        for old, new in zip(before, again.model.backbone.parameters(), strict=True)
    )
