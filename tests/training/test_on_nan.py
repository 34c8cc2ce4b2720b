"""SEEK.ON_NAN skip: the update that a figure not finite has spoilt is left out."""

import json
import logging
import pathlib

import pytest
import torch

from fastseek.errors import RunError
from fastseek.training.trainer import Trainer

BAD = float("nan")


class Poisoned(Trainer):
    """A trainer whose loss is not finite at some steps; keeps what it held before every step."""

    at = ()

    def train(self):
        forward, self.held = self._trainer._forward, {}

        def changed(batch):
            self.held[self.iter] = {
                name: value.clone() for name, value in self.model.state_dict().items()
            }
            if self.iter in self.at:
                batch = {**batch, "images": batch["images"] * BAD}
            return forward(batch)

        self._trainer._forward = changed
        return super().train()


def trained(cfg, *at):
    trainer = Poisoned(cfg)
    trainer.at = at
    trainer.train()
    return trainer


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_the_update_is_left_out_counted_and_told_and_the_run_goes_on(recipe_of):
    """landmark row 37, finegrained row 41."""
    cfg = recipe_of(SEEK__ON_NAN="skip", SOLVER__WARMUP_ITERS=0)
    trainer = trained(cfg, 1, 4)
    held = trainer.held
    assert same(held[1], held[2]) and same(held[4], held[5]), (
        "weights and running statistics as before"
    )
    assert not same(held[2], held[3]) and not same(held[3], held[4])
    assert all(value.isfinite().all() for value in trainer.model.state_dict().values())
    lines = [
        json.loads(line)
        for line in (pathlib.Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["iteration"] for line in lines if "total_loss" in line] == [0, 2, 3, 5]
    assert {
        line["iteration"]: line["skipped_updates"] for line in lines if "skipped_updates" in line
    } == {1: 1, 4: 2}
    log = (pathlib.Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    assert log.count("is left out, the") == 2 and "class_0" in log.split("left out, the 1.")[1]


def test_one_bad_batch_spoils_its_whole_update(recipe_of):
    """landmark row 37."""
    cfg = recipe_of(SEEK__ON_NAN="skip", SEEK__ACCUMULATE=3, SOLVER__WARMUP_ITERS=0)
    trainer = trained(cfg, 1)
    assert same(trainer.held[0], trainer.held[3]) and trainer._trainer.skipped == 1


def test_many_in_a_row_end_the_run_and_name_the_photos(recipe_of):
    """landmark row 37."""
    cfg = recipe_of(SEEK__ON_NAN="skip", SOLVER__MAX_EPOCH=8, SOLVER__WARMUP_ITERS=0)
    with pytest.raises(RunError, match="10 updates in a row were left out.*iteration 12") as told:
        trained(cfg, *range(3, 24))
    assert "class_0" in str(told.value)
    whole = trained(
        recipe_of(SEEK__ON_NAN="skip", SOLVER__MAX_EPOCH=8, SOLVER__WARMUP_ITERS=0),
        *range(1, 10),
        *range(11, 20),
    )
    assert whole._trainer.skipped == 18


def test_the_count_goes_on_in_a_resumed_run(recipe_of):
    trained(recipe_of(SEEK__ON_NAN="skip", SOLVER__MAX_EPOCH=1, SOLVER__WARMUP_ITERS=0), 1)
    again = Poisoned(recipe_of(SEEK__ON_NAN="skip", SOLVER__WARMUP_ITERS=0))
    again.resume_or_load()
    again.at = (4,)
    again.train()
    assert again._trainer.skipped == 2


def test_a_run_without_bad_figures_is_the_same_with_and_without_the_guard(recipe_of, tmp_path):
    logging.getLogger("fastreid").setLevel("WARNING")
    stop = trained(recipe_of(OUTPUT_DIR=str(tmp_path / "stop")))
    skip = trained(recipe_of(OUTPUT_DIR=str(tmp_path / "skip"), SEEK__ON_NAN="skip"))
    assert same(stop.model.state_dict(), skip.model.state_dict())
