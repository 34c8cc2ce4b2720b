"""SEEK.ACCUMULATE: several batches, one update."""

import json
import os
import pathlib
import signal

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from fastseek.errors import RunError
from fastseek.training import step as steps
from fastseek.training.accumulation import Windows
from fastseek.training.trainer import Trainer

from fastreid.utils.events import EventStorage

# without batch statistics, and without augmentation, whose draws depend on the number of the batch
STILL = {
    "SEEK__BACKBONE": "timm(name='test_efficientnet', stages=(4,), bn_eval=True)",
    "SEEK__BRANCHES": ["gem(dim=32)"],
    "SOLVER__WARMUP_ITERS": 0,
    "SEEK__SCHEDULE": "warmup_cosine(epochs=1, start=0.1)",
    "SOLVER__OPT": "SGD",
    "SEEK__TRAIN": ["resize(32)"],
}


class Net(nn.Module):
    """A classifier without batch statistics, with a buffer that remembers what it saw."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, batch):
        with torch.no_grad():
            self.seen += batch["images"].sum(0)
        logits = self.layers(batch["images"]).float()
        return {
            "loss_a": F.cross_entropy(logits, batch["targets"]),
            "loss_b": 0.01 * logits.square().mean(),
        }


class Photos:
    def __init__(self, images, targets, size):
        self.images, self.targets, self.size = images, targets, size

    def seek(self, step):
        self.at = step

    def __iter__(self):
        batches = list(
            zip(self.images.split(self.size), self.targets.split(self.size), strict=True)
        )
        for images, targets in batches[self.at :]:
            yield {"images": images, "targets": targets, "ids": [str(id(images))] * len(images)}


def photos(count=64):
    torch.manual_seed(5)
    return torch.randn(count, 6), torch.randint(0, 3, (count,))


def stepped(
    size,
    windows,
    data=None,
    kind=steps.Step,
    optimizer=None,
    scaler=None,
    start=0,
    change=None,
    **options,
):
    """A net trained over the photos once, and its step."""
    images, targets = data or photos()
    net = Net()
    build = optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9))
    step = kind(net, Photos(images, targets, size), build(net.parameters()), 0, windows, **options)
    step.grad_scaler = scaler
    step.seek(start)
    with EventStorage():
        for step.iter in range(start, len(images) // size):
            if change:
                change(step)
            step.run_step()
    return net, step


def close(one, two, **tolerance):
    return all(
        torch.allclose(first, second, **tolerance)
        for first, second in zip(one.parameters(), two.parameters(), strict=True)
    )


@pytest.mark.parametrize("iters, size", [(1, 1), (10, 1), (10, 4), (8, 4), (3, 5), (7, 7), (9, 2)])
def test_windows_are_runs_within_an_epoch_and_the_last_takes_what_is_left(iters, size):
    windows, made = Windows(size, iters), []
    for epoch in range(3):
        left = list(range(epoch * iters, (epoch + 1) * iters))
        while left:
            made.append(left[:size])
            left = left[size:]
    for number, steps_of in enumerate(made):
        for step in steps_of:
            assert windows.around(step) == (steps_of[0], steps_of[-1])
            assert windows.update(step) == number and windows.closes(step) == (step == steps_of[-1])
    assert windows.updates_per_epoch * 3 == len(made)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    ],
)
def test_four_batches_of_four_make_the_update_of_one_batch_of_sixteen(optimizer):
    """landmark row 33."""
    whole, _ = stepped(16, Windows(), optimizer=optimizer)
    parts, step = stepped(4, Windows(4, 16), optimizer=optimizer)
    assert close(whole, parts, rtol=1e-5, atol=1e-6) and step.updated
    alone, _ = stepped(4, Windows(), optimizer=optimizer)
    assert not close(whole, alone, rtol=1e-3, atol=1e-4)


def test_so_they_do_in_bfloat16_within_its_precision():
    """landmark row 33."""
    whole, _ = stepped(16, Windows(), kind=steps.AmpStep)
    parts, _ = stepped(4, Windows(4, 16), kind=steps.AmpStep)
    assert close(whole, parts, atol=2e-2)


def test_so_they_do_under_a_gradient_scaler_which_skips_and_lowers_its_scale_once_an_update():
    """landmark row 33, finegrained row 41."""
    whole, _ = stepped(
        16, Windows(), kind=steps.AmpStep, scaler=torch.amp.GradScaler("cpu", init_scale=64.0)
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    parts, _ = stepped(4, Windows(4, 16), kind=steps.AmpStep, scaler=scaler)
    assert close(whole, parts, atol=2e-2) and scaler.get_scale() == 64.0
    scaler, kept = torch.amp.GradScaler("cpu", init_scale=2.0**127), {}

    def watch(step):
        if step.iter == 1:
            step._data_loader_iter = iter(
                [{"images": torch.full((4, 6), 1e4), "targets": torch.tensor([0] * 4)}]
                + list(step._data_loader_iter)[1:]
            )
        kept[step.iter] = (scaler.get_scale(), [one.clone() for one in step.model.parameters()])

    stepped(4, Windows(4, 16), kind=steps.AmpStep, scaler=scaler, change=watch)
    assert kept[3][0] == 2.0**127 and kept[4][0] == 2.0**126, (
        "looked at after the fourth batch only"
    )
    assert all(torch.equal(one, two) for one, two in zip(kept[0][1], kept[4][1], strict=True))


def test_what_is_left_at_the_end_of_an_epoch_makes_an_update_with_the_mean_of_its_losses():
    images, targets = photos(40)
    net, step = stepped(4, Windows(4, 5), data=(images, targets))
    twin = Net()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for first, last in ((0, 16), (16, 20), (20, 36), (36, 40)):
        optimizer.zero_grad()
        found = [
            sum(twin({"images": one, "targets": two}).values())
            for one, two in zip(
                images[first:last].split(4), targets[first:last].split(4), strict=True
            )
        ]
        (sum(found) / len(found)).backward()
        optimizer.step()
    assert close(net, twin, rtol=1e-5, atol=1e-6) and step.updated


def test_a_run_that_goes_on_inside_a_window_divides_by_what_it_adds():
    images, targets = photos(16)
    net, _ = stepped(4, Windows(4, 4), data=(images, targets), start=2)
    whole, _ = stepped(8, Windows(), data=(images[8:], targets[8:]))
    assert close(net, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{}, {"SOLVER__CLIP_GRADIENTS__ENABLED": True, "SOLVER__CLIP_GRADIENTS__CLIP_VALUE": 0.05}],
)
def test_a_trainer_reaches_the_weights_and_rates_of_the_large_batch(recipe_of, tmp_path, changes):
    """landmark row 33: also the schedule counts updates."""
    made = {}
    for name, batch, times in (("whole", 12, 1), ("parts", 4, 3)):
        trainer = Trainer(
            recipe_of(
                SOLVER__IMS_PER_BATCH=batch,
                SEEK__ACCUMULATE=times,
                SOLVER__BASE_LR=0.05,
                OUTPUT_DIR=str(tmp_path / name),
                **STILL,
                **changes,
            )
        )
        trainer.train()
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        made[name] = trainer.model, [json.loads(line)["lr"] for line in lines if "lr" in line]
    assert (
        made["parts"][1] == [rate for rate in made["whole"][1] for _ in range(3)]
        and len(set(made["whole"][1])) > 2
    )
    assert close(made["whole"][0], made["parts"][0], rtol=1e-4, atol=2e-5)


def test_a_killed_run_goes_on_from_the_last_update_as_if_nothing_had_happened(
    recipe_of, tmp_path, forked
):
    """landmark row 36."""
    settings = {"SOLVER__IMS_PER_BATCH": 4, "SEEK__ACCUMULATE": 4, "SEEK__CHECKPOINT_MINUTES": 1e-9}
    whole = Trainer(recipe_of(OUTPUT_DIR=str(tmp_path / "whole"), **settings))
    whole.train()
    cfg = recipe_of(**settings)

    class Dying(Trainer):
        def run_step(self):
            if self.iter == 15:
                os.kill(os.getpid(), signal.SIGKILL)
            super().run_step()

    assert forked(lambda: Dying(cfg).train()) == -signal.SIGKILL
    saved = {
        json.loads(path.read_text())["step"]
        for path in pathlib.Path(cfg.OUTPUT_DIR).glob("model_step_*.json")
    }
    assert saved <= {4, 8, 9, 13} and max(saved) == 13
    again = Trainer(cfg)
    again.resume_or_load()
    assert again.start_step == 13
    again.train()
    one, two = (
        load_file(f"{folder}/model_final.safetensors")
        for folder in (cfg.OUTPUT_DIR, tmp_path / "whole")
    )
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_a_signal_waits_for_the_update(recipe_of):
    cfg = recipe_of(SOLVER__IMS_PER_BATCH=4, SEEK__ACCUMULATE=4)

    class Asked(Trainer):
        def run_step(self):
            super().run_step()
            if self.iter == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunError, match="after 8 of 18 steps"):
        Asked(cfg).train()


def process(rank, folder, data):
    """One of two processes: batches of two, two of them an update."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    net, entered = Net(), []
    model = nn.parallel.DistributedDataParallel(net)
    no_sync = model.no_sync
    model.no_sync = lambda: (entered.append(1), no_sync())[1]
    images, targets = (
        torch.cat([part.split(2)[number] for number in range(rank, 16, 2)]) for part in data
    )
    step = steps.Step(
        model,
        Photos(images, targets, 2),
        torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
        0,
        Windows(2, 8),
    )
    step.seek(0)
    with EventStorage():
        for step.iter in range(8):
            step.run_step()
            step._in_a_row = 0
    torch.save({"net": net.state_dict(), "entered": len(entered)}, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_exchange_gradients_once_an_update_and_agree_with_one(tmp_path):
    """landmark row 33."""
    data = photos(32)
    torch.multiprocessing.start_processes(
        process, (str(tmp_path), data), nprocs=2, start_method="fork"
    )
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    whole, _ = stepped(8, Windows(), data=data)
    assert one["entered"] == two["entered"] == 4
    for name, value in whole.named_parameters():
        assert torch.equal(one["net"][name], two["net"][name])
        assert torch.allclose(one["net"][name], value, rtol=1e-5, atol=1e-6)
