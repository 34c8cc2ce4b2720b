import math
import pathlib
import re

import pytest
import torch
from torch import nn

from fastseek.errors import RunError, UsageError
from fastseek.modeling.layers.trainer_contract import announce_step
from fastseek.training import step as steps
from fastseek.training.trainer import Trainer


def poisoned(trainer, at, part="loss_cross_entropy", value=float("nan")):
    """Make one loss of step `at` not finite."""
    forward = trainer._trainer._forward

    def changed(batch):
        losses = forward(batch)
        if trainer.iter == at:
            losses[part] = losses[part] * value
        return losses

    trainer._trainer._forward = changed


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_rate_losses_and_photos(
    recipe_of, value
):
    cfg = recipe_of(
        SEEK__LOSSES=["cross_entropy(on='gem')", "triplet(on='gem')"], SEEK__SAMPLER="pk(k=2)"
    )
    trainer = Trainer(cfg)
    poisoned(trainer, 4, value=value)
    with pytest.raises(RunError) as told:
        trainer.train()
    text = str(told.value)
    assert "iteration 4" in text and "lr 0.003" in text
    assert f"loss_cross_entropy {value:g}" in text
    healthy = re.search(r"loss_triplet ([^;,\s]+?)(\.\s|[;,\s])", text)
    assert math.isfinite(float(healthy[1])) and float(healthy[1]) >= 0
    named = [line.strip() for line in text.splitlines()[1:]]
    assert len(named) == 12 and set(named) <= {
        item.id for item in trainer.data_loader.dataset.items
    }
    again = Trainer(cfg)
    again.resume_or_load()
    assert again.start_step == 3


def test_a_not_finite_loss_never_reaches_the_weights(recipe_of):
    """landmark row 37, finegrained row 41."""
    trainer = Trainer(recipe_of(SOLVER__MAX_EPOCH=1))
    poisoned(trainer, 2)
    kept = {}
    run = trainer.run_step

    def remembered():
        kept.update({name: value.clone() for name, value in trainer.model.named_parameters()})
        run()

    trainer.run_step = remembered
    with pytest.raises(RunError):
        trainer.train()
    assert all(torch.equal(kept[name], value) for name, value in trainer.model.named_parameters())


def test_the_run_fails_when_the_learning_rate_moves_nothing(recipe_of):
    with pytest.raises(
        RunError, match="no parameter moved in step 1: every learning rate is 0; set SOLVER.BASE_LR"
    ):
        Trainer(recipe_of(SOLVER__BASE_LR=0.0)).train()


def test_a_warmup_from_zero_is_waited_for(recipe_of):
    Trainer(recipe_of(SOLVER__WARMUP_FACTOR=0.0, SOLVER__MAX_EPOCH=1)).train()


def test_the_run_fails_under_the_optimizer_that_fast_reid_builds(recipe_of):
    from fastreid.solver import build_optimizer

    class Upstream(Trainer):
        @classmethod
        def build_optimizer(cls, cfg, model):
            return build_optimizer(cfg, model)

    with pytest.raises(RunError, match="the optimizer holds none of the model's parameters"):
        Upstream(recipe_of()).train()


def test_the_run_fails_when_the_loss_does_not_depend_on_the_model(recipe_of):
    trainer = Trainer(recipe_of(SOLVER__WEIGHT_DECAY=0.0))
    trainer._trainer._forward = lambda batch: {"loss": torch.zeros((), requires_grad=True)}
    with pytest.raises(RunError, match="no parameter got a gradient"):
        trainer.train()


def test_a_model_without_losses_is_a_wrong_recipe(recipe_of):
    trainer = Trainer(recipe_of())
    trainer._trainer._forward = lambda batch: {}
    with pytest.raises(UsageError, match="no loss"):
        trainer.train()


class Slip(torch.autograd.Function):
    """The identity, whose gradient is a given number."""

    @staticmethod
    def forward(ctx, value, slope):
        ctx.slope = slope
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.slope, None


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_are_touched(
    recipe_of, slope
):
    trainer = Trainer(recipe_of(SOLVER__MAX_EPOCH=1))
    forward, kept, ids = trainer._trainer._forward, {}, []

    def slipped(batch):
        kept.update({name: value.clone() for name, value in trainer.model.named_parameters()})
        ids[:] = batch["ids"]
        return {
            name: Slip.apply(loss, slope if trainer.iter == 1 else 1.0)
            for name, loss in forward(batch).items()
        }

    trainer._trainer._forward = slipped
    with pytest.raises(
        RunError, match="the gradient, and not the loss, is not finite at iteration 1"
    ) as told:
        trainer.train()
    assert [line.strip() for line in str(told.value).splitlines()[1:]] == ids
    assert all(torch.equal(kept[name], value) for name, value in trainer.model.named_parameters())


class Doubler(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, batch):
        return {"loss_a": (self.weight * batch["images"]).sum(), "loss_b": self.weight.sum() * 0}


class Loader:
    def __init__(self, values):
        self.values = values

    def seek(self, step):
        self.at = step

    def __iter__(self):
        for value in self.values:
            torch.rand(3)
            yield {"images": torch.full((2,), value), "ids": ["a", "b"]}


def stepped(values, kind=steps.Step, scaler=None):
    model = Doubler()
    step = kind(model, Loader(values), torch.optim.SGD(model.parameters(), lr=0.1))
    if scaler is not None:
        step.grad_scaler = scaler
    from fastreid.utils.events import EventStorage

    with EventStorage():
        for step.iter in range(len(values)):
            step.run_step()
    return model, step


def test_a_step_is_plain_gradient_descent():
    model, _ = stepped([1.0, 3.0])
    assert model.weight.tolist() == pytest.approx([1 - 0.1 * 1 - 0.1 * 3] * 2)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def at_step(self, step):
        self.seen.append(step)


def test_every_module_that_wants_it_is_told_the_step_before_its_forward():
    model = Doubler()
    model.inside, order = nn.Sequential(nn.Identity(), Counting()), []
    model.register_forward_pre_hook(lambda *_: order.append(list(model.inside[1].seen)))
    step = steps.Step(model, Loader([1.0, 2.0, 3.0]), torch.optim.SGD(model.parameters(), lr=0.1))
    from fastreid.utils.events import EventStorage

    with EventStorage():
        for step.iter in (7, 8, 9):
            step.run_step()
    assert order == [[7], [7, 8], [7, 8, 9]]


def test_taking_a_batch_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    stepped([1.0, 1.0])
    assert torch.equal(torch.rand(1), expected)


def test_overflow_in_float16_skips_the_update_and_lowers_the_scale():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    model, step = stepped([4.0, 1.0], steps.AmpStep, scaler)
    assert scaler.get_scale() < 2.0**127
    assert model.weight.tolist() == pytest.approx([0.9, 0.9], rel=1e-2)


def test_the_scaler_is_part_of_the_checkpoint(recipe_of):
    trainer = Trainer(recipe_of(SOLVER__MAX_EPOCH=1))
    assert "grad_scaler" not in trainer.checkpointer.checkpointables
    saved = {}
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer.checkpointer.checkpointables["grad_scaler"] = scaler
    trainer.train()
    saved = torch.load(
        pathlib.Path(trainer.cfg.OUTPUT_DIR) / "model_final.state.pt", weights_only=True
    )
    assert saved["grad_scaler"]["scale"] == 8.0


def test_steps_are_those_of_fast_reids_own_trainer(recipe_of):
    from fastreid.engine.train_loop import SimpleTrainer
    from fastreid.utils.events import EventStorage

    ours = Trainer(recipe_of(SOLVER__MAX_EPOCH=1, SOLVER__WARMUP_ITERS=0))
    theirs = Trainer(recipe_of(SOLVER__MAX_EPOCH=1, SOLVER__WARMUP_ITERS=0))
    ours.train()
    torch.manual_seed(ours.cfg.SEED)
    stock = SimpleTrainer(theirs.model, theirs.data_loader, theirs.optimizer, None)
    with EventStorage():
        for stock.iter in range(3):
            announce_step(theirs.model.modules(), stock.iter)
            stock.run_step()
    for (name, first), second in zip(
        ours.model.named_parameters(), theirs.model.parameters(), strict=True
    ):
        assert torch.equal(first, second), name
