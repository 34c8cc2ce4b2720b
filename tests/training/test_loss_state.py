"""Losses that remember, in the trainer: a run that was stopped goes on with what they had written
down.
"""

import pathlib

import pytest
import torch
from safetensors.torch import load_file

from fastseek.training.trainer import Trainer

LOSSES = [
    "cross_entropy(on='bnneck')",
    "triplet(on='bnneck/before')",
    "center(on='bnneck/before')",
    "xbm(on='bnneck/before', size=30, start=2, stop=7)",
    "curricular(on='bnneck', warm=6, weight=0.1)",
    "prototype(on='bnneck', weight=0.1)",
    "circle(on='bnneck', weight=0.01, warm=4)",
    "ada_face(on='bnneck/before', weight=0.01)",
    "elastic_face(on='bnneck', weight=0.01)",
]
RECIPE = {
    "SEEK__BRANCHES": ["bnneck(pool='gem', dropout=0.2, dropout_from=4)"],
    "SEEK__LOSSES": LOSSES,
    "SEEK__SAMPLER": "pk(k=2)",
    "SOLVER__MAX_EPOCH": 3,
}


class Stopped(BaseException):
    """What ends a run in the middle."""


def train(cfg, resume=False, stop=None):
    class Watched(Trainer):
        def run_step(self):
            if self.iter == stop:
                raise Stopped
            super().run_step()
            seen.append(self.model.losses["xbm"].seen.item())

    seen = []
    trainer = Watched(cfg)
    trainer.resume_or_load(resume)
    trainer.train()
    return seen


def weights(cfg):
    return load_file(pathlib.Path(cfg.OUTPUT_DIR) / "model_final.safetensors")


def test_a_stopped_run_goes_on_with_centers_memory_prototypes_and_averages_as_if_nothing_had_happened(
    recipe_of, tmp_path
):
    """finegrained rows 36, 37, 38 and 66: the switches follow the step, the memory is saved."""
    whole = recipe_of(**RECIPE, OUTPUT_DIR=str(tmp_path / "whole"))
    seen = train(whole)
    assert seen == [0, 0, 12, 24, 36, 48, 60, 60, 60]
    halves = recipe_of(**RECIPE, OUTPUT_DIR=str(tmp_path / "halves"))
    with pytest.raises(Stopped):
        train(halves, stop=5)
    assert train(halves, resume=True) == seen[3:]
    first, second = weights(whole), weights(halves)
    assert {
        "losses.center.centers",
        "losses.xbm.rows",
        "losses.curricular.t",
        "losses.prototype.known",
        "losses.ada_face.mean_length",
    } <= set(first)
    assert all(torch.equal(first[name], second[name]) for name in first)
