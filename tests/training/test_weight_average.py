"""The moving average of the weights: what it is, and that it is evaluated, saved and gone on with."""

import json
import pathlib

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fastseek.errors import ArtefactError, UsageError
from fastseek.training.trainer import Trainer
from fastseek.training.weight_average import WeightAverage


def test_it_is_the_moving_average_of_the_weights_after_every_update():
    net = nn.Linear(2, 1, bias=False)
    average, expected = WeightAverage(net, 0.5), None
    for n, value in enumerate((1.0, 5.0, 2.0, 9.0), 1):
        nn.init.constant_(net.weight, value)
        average.update()
        share = min(0.5, (1 + n) / (10 + n))
        expected = value if expected is None else share * expected + (1 - share) * value
    with average.in_place():
        assert net.weight[0, 0].item() == pytest.approx(expected)
    assert net.weight[0, 0].item() == 9.0


def test_a_tensor_with_two_names_changes_places_once():
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    net[1].weight = net[0].weight
    average = WeightAverage(net, 0.9)
    average.update()
    nn.init.zeros_(net[0].weight)
    with average.in_place():
        assert net[1].weight.abs().sum() > 0
    assert not net[0].weight.any()


def test_without_a_decay_or_an_update_nothing_changes():
    net = nn.Linear(2, 2)
    before = net.weight.detach().clone()
    for average in (WeightAverage(net, 0.0), WeightAverage(net, 0.9)):
        with average.in_place():
            assert torch.equal(net.weight, before)
    off = WeightAverage(net, 0.0)
    off.update()
    assert off.state_dict() == {"updates": 0, "weights": {}}


class Watched(Trainer):
    """Keeps the weights it evaluates with, and its own slow average."""

    seen: dict
    slow: dict

    def run_step(self):
        super().run_step()
        own = {
            name: value.clone()
            for name, value in self.model.state_dict().items()
            if value.is_floating_point()
        }
        n = self.iter + 1
        share = min(0.8, (1 + n) / (10 + n))
        if not self.iter:
            type(self).slow = own
        type(self).slow = {
            name: share * value + (1 - share) * own[name] for name, value in self.slow.items()
        }

    @classmethod
    def test(cls, cfg, model):
        cls.seen = {name: value.clone() for name, value in model.state_dict().items()}
        return {"metric": 1.0}


def test_the_average_is_what_is_evaluated_and_saved(recipe_of, tests_on):
    cfg = recipe_of(SEEK__EMA=0.8, DATASETS__TESTS=tests_on)
    trainer = Watched(cfg)
    trainer.train()
    out = pathlib.Path(cfg.OUTPUT_DIR)
    final, best = (load_file(out / f"model_{name}.safetensors") for name in ("final", "best"))
    for name, value in Watched.slow.items():
        torch.testing.assert_close(final[name], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(final[name], Watched.seen[name]) and torch.equal(final[name], best[name])
    moved = trainer.model.state_dict()
    assert not all(torch.equal(moved[name], final[name]) for name in Watched.slow)


def test_a_run_that_is_resumed_has_the_same_average(recipe_of, tmp_path):
    whole = recipe_of(SEEK__EMA=0.8, OUTPUT_DIR=str(tmp_path / "whole"))
    Trainer(whole).train()
    for stop in (1, 0):
        cfg = recipe_of(SEEK__EMA=0.8, SEEK__STOP_AT=stop)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=True)
        trainer.train()
    first, second = (
        load_file(pathlib.Path(one.OUTPUT_DIR) / "model_final.safetensors") for one in (whole, cfg)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    manifest = json.loads((pathlib.Path(cfg.OUTPUT_DIR) / "model_final.json").read_text())
    assert manifest["step"] == 6
    with pytest.raises(ArtefactError, match="SEEK.EMA 0.8 -> 0"):
        Trainer(recipe_of(SOLVER__MAX_EPOCH=3)).resume_or_load(resume=True)


@pytest.mark.parametrize("other", [{"SEEK__FSDP": True}, {"TEST__PRECISE_BN__ENABLED": True}])
def test_what_an_average_does_not_go_with_is_refused(recipe_of, other):
    with pytest.raises(UsageError, match="SEEK.EMA does not go with"):
        Trainer(recipe_of(SEEK__EMA=0.9, **other))
