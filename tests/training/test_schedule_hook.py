"""SEEK.SCHEDULE and SEEK.STOP_AT in a training, and the table of rates."""

import json
import os
import pathlib
import signal

import pytest
import torch
from safetensors.torch import load_file

from fastseek.cli import recipes
from fastseek.errors import DataError, RunError, UsageError
from fastseek.registry import SCHEDULES, build
from fastseek.training import lr_table
from fastseek.training.trainer import Trainer

CALLS = [
    "warmup_steps('repo', epochs=2, milestones=(3,))",
    "warmup_steps('digix', iterations=4, gamma=0.9)",
    "warmup_cosine(epochs=1)",
    "piecewise(((1, 0.1), (2, 1.0)))",
]


def rates(cfg):
    lines = (pathlib.Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["lr"] for line in lines if "lr" in json.loads(line)]


@pytest.mark.parametrize("call", CALLS)
def test_every_step_has_the_rate_of_the_schedule_also_where_it_starts_at_zero(recipe_of, call):
    """finegrained row 4."""
    cfg = recipe_of(SEEK__SCHEDULE=call, SOLVER__MAX_EPOCH=4)
    Trainer(cfg).train()
    schedule = build(call, SCHEDULES, iters_per_epoch=3, max_epoch=4, base_lr=0.003)
    assert rates(cfg) == pytest.approx([0.003 * schedule.factor(step) for step in range(12)])


@pytest.mark.parametrize("call", CALLS[1:3])
def test_a_stopped_run_goes_on_with_the_same_rates_and_weights(recipe_of, tmp_path, call):
    """landmark row 36."""
    whole = recipe_of(SEEK__SCHEDULE=call, OUTPUT_DIR=str(tmp_path / "whole"))
    Trainer(whole).train()
    cfg = recipe_of(SEEK__SCHEDULE=call)

    class Asked(Trainer):
        def run_step(self):
            super().run_step()
            if self.iter == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunError, match="after 2 of 6 steps"):
        Asked(cfg).train()
    again = Trainer(cfg)
    again.resume_or_load()
    again.train()
    assert rates(cfg) == rates(whole)
    one, two = (load_file(f"{made.OUTPUT_DIR}/model_final.safetensors") for made in (cfg, whole))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_what_the_solver_says_of_schedules_is_told_to_do_nothing(recipe_of):
    cfg = recipe_of(SEEK__SCHEDULE="warmup_cosine()", SOLVER__STEPS=[5], SOLVER__WARMUP_ITERS=7)
    Trainer(cfg)
    log = (pathlib.Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    assert (
        "SOLVER.STEPS, SOLVER.WARMUP_ITERS" in log
        and "do nothing" in log
        and "SOLVER.SCHED," not in log
    )


def test_stop_at_ends_the_training_where_its_longer_twin_passes_by(recipe_of, tests_on, tmp_path):
    """landmark row 33: the schedule is that of the whole, the end that of any training."""
    long = {
        "SOLVER__MAX_EPOCH": 5,
        "SEEK__SCHEDULE": "warmup_cosine()",
        "DATASETS__TESTS": tests_on,
    }
    whole = recipe_of(OUTPUT_DIR=str(tmp_path / "whole"), SEEK__KEEP_CHECKPOINTS=9, **long)
    Trainer(whole).train()
    cfg = recipe_of(SEEK__STOP_AT=2, **long)
    results = Trainer(cfg).train()
    assert set(results) >= {"recall(1)", "map(10)"}
    assert rates(cfg) == rates(whole)[:6]
    one = load_file(f"{cfg.OUTPUT_DIR}/model_final.safetensors")
    two = load_file(tmp_path / "whole" / "model_0001.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in two)
    manifest = json.loads((pathlib.Path(cfg.OUTPUT_DIR) / "model_final.json").read_text())
    assert (manifest["epoch"], manifest["step"]) == (2, 6)
    longer = Trainer(recipe_of(SEEK__STOP_AT=3, **long))
    longer.resume_or_load()
    longer.train()
    assert rates(longer.cfg) == rates(whole)[:9]


def test_gap_and_map_are_measured_after_every_epoch(recipe_of, tests_on):
    """landmark row 38."""
    cfg = recipe_of(
        DATASETS__TESTS=tests_on,
        TEST__EVAL_PERIOD=1,
        SOLVER__MAX_EPOCH=3,
        SEEK__METRICS=["gap()", "map(100)"],
    )
    found = Trainer(cfg).train()
    lines = [
        json.loads(line)
        for line in (pathlib.Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text().splitlines()
    ]
    told = [(line["epoch"], line["gap"], line["map(100)"]) for line in lines if "gap" in line]
    assert [epoch for epoch, _, _ in told] == [0, 1, 2]
    assert told[-1][1:] == (pytest.approx(found["gap"]), pytest.approx(found["map(100)"]))


def rows(text):
    return {
        int(line.split()[1]): (int(line.split()[0]), float(line.split()[2]))
        for line in text.splitlines()[2:]
    }


def test_the_table_shows_the_corners_of_the_three_warmups():
    """finegrained row 4: a printable table of rates."""
    paper = rows(lr_table.table("warmup_steps(preset='paper')", 10))
    assert paper[0] == (1, 3.5e-5) and paper[90] == (10, 3.5e-4) and paper[399] == (40, 3.5e-4)
    assert (
        paper[400] == (41, 3.5e-5) and paper[700] == (71, 3.5e-6) and paper[1199] == (120, 3.5e-6)
    )
    repo = rows(lr_table.table("warmup_steps(preset='repo')", 10))
    assert repo[0] == (1, 3.815e-5) and repo[389] == (39, 3.5e-4) and repo[390] == (40, 3.5e-5)
    digix = rows(lr_table.table("warmup_steps(preset='digix')", 387, max_epoch=300, base_lr=8e-4))
    assert (
        digix[0] == (1, 0) and digix[1999] == (6, pytest.approx(8e-4, rel=1e-3)) and len(digix) < 60
    )
    assert digix[300 * 387 - 1][1] == pytest.approx(8e-5, rel=0.03)


@pytest.mark.parametrize(
    "changes",
    [
        {"SOLVER__SCHED": "MultiStepLR", "SOLVER__STEPS": [1, 2], "SOLVER__MAX_EPOCH": 4},
        {"SOLVER__SCHED": "CosineAnnealingLR", "SOLVER__WARMUP_ITERS": 3, "SOLVER__MAX_EPOCH": 5},
        {"SOLVER__SCHED": "CosineAnnealingLR", "SOLVER__DELAY_EPOCHS": 2, "SOLVER__MAX_EPOCH": 4},
    ],
)
def test_the_rates_of_fast_reids_schedules_are_those_of_a_training(recipe_of, changes):
    cfg = recipe_of(**changes)
    Trainer(cfg).train()
    assert lr_table.stock_rates(cfg, 3) == pytest.approx(rates(cfg))


def test_the_table_of_a_recipe_counts_its_photos_and_its_updates(photos, tmp_path):
    path = tmp_path / "one.yml"
    path.write_text(f"""
DATASETS: {{NAMES: ["folder('{photos}')"]}}
SOLVER: {{IMS_PER_BATCH: 4, MAX_EPOCH: 6}}
SEEK: {{SCHEDULE: "warmup_cosine()", ACCUMULATE: 2, STOP_AT: 3}}
""")
    assert "(5 steps an epoch, 3 epochs" in lr_table.table(str(path))
    assert "(50 steps an epoch" in lr_table.table(str(path), 100)
    assert "MultiStepLR (9 steps an epoch, 6 epochs" in lr_table.table(
        str(path), 0, ["SEEK.SCHEDULE", "", "SEEK.STOP_AT", "0"]
    )
    with pytest.raises(DataError, match="--iters-per-epoch"):
        lr_table.table(str(path), 0, ["DATASETS.NAMES", '("Market1501",)'])
    with pytest.raises(UsageError, match="takes no KEY VALUE"):
        lr_table.table("warmup_cosine()", 0, ["SEED", "1"])


def test_the_tool_prints_the_table(capsys):
    given = ["schedule", "warmup_steps('repo')", "--iters-per-epoch", "3", "--epochs", "80"]
    recipes.main(given)
    told = capsys.readouterr().out
    assert "3.815e-05" in told
    assert told.splitlines()[1].split() == ["epoch", "step", "lr", "of", "base"]
