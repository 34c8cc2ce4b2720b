import json
import os
import pathlib
import signal
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from fastseek.distributed import launch as launching
from fastseek.distributed.launch import launch
from fastseek.errors import ArtefactError, RunError, UsageError

TRAINER = "fastseek.training.trainer"


def train(cfg):
    """Train in one of several processes; a module-level function, because new processes import
    it.
    """
    import fastseek.modeling.seeker  # noqa: F401
    from fastseek.training.trainer import Trainer

    torch.set_num_threads(1)
    Trainer(cfg).train()


def train_with_nan(cfg):
    """Rank 1's second batch gives NaN."""
    import fastseek.modeling.seeker  # noqa: F401
    from fastseek.training.trainer import Trainer

    trainer = Trainer(cfg)
    forward = trainer._trainer._forward

    def poisoned(batch):
        bad = torch.distributed.get_rank() == 1 and trainer.iter == 1
        return {
            name: loss * (float("nan") if bad else 1.0) for name, loss in forward(batch).items()
        }

    trainer._trainer._forward = poisoned
    trainer.train()


def fail(folder):
    rank = torch.distributed.get_rank()
    if rank == 1:
        raise ArtefactError("rank 1 found something")
    (pathlib.Path(folder) / "waiting").touch()
    torch.distributed.barrier()


def crash(folder):
    if torch.distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.barrier()


def told(folder):
    lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    return torch.tensor([json.loads(line)["total_loss"] for line in lines])


def add_up(folder, number):
    """In one of two new processes: the sum over both, and whether they began with nothing."""
    rank = torch.distributed.get_rank()
    total = torch.tensor([float(number + rank)])
    torch.distributed.all_reduce(total)
    said = {"total": total.item(), "pid": os.getpid(), "trainer": TRAINER in sys.modules}
    (pathlib.Path(folder) / f"{rank}.json").write_text(json.dumps(said))


def test_processes_are_new_ones_and_talk(tmp_path):
    import fastseek.training.trainer  # noqa: F401  a forked process would have it

    assert launch(add_up, num_gpus=2, args=(str(tmp_path), 20), device="cpu") is None
    said = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [one["total"] for one in said] == [41, 41]
    assert len({os.getpid(), *(one["pid"] for one in said)}) == 3
    assert not any(one["trainer"] for one in said)


@pytest.mark.slow
def test_two_processes_train_as_one(recipe_of, tmp_path, launch_forks):
    # batch norm in eval mode, no randomness inside the model: then two halves of a batch are the
    # whole batch
    plain = {
        "SEEK__BACKBONE": "timm(name='test_efficientnet', stages=(4,), bn_eval=True)",
        "SOLVER__OPT": "SGD",
        "SOLVER__BASE_LR": 0.01,
    }
    cfgs = [recipe_of(OUTPUT_DIR=str(tmp_path / name), **plain) for name in ("one", "two")]
    train(cfgs[0])
    assert launch(train, num_gpus=2, args=(cfgs[1],), device="cpu") is None
    one, two = (cfg.OUTPUT_DIR for cfg in cfgs)
    assert (told(one) - told(two)).abs().max() < 1e-4
    first, second = (
        load_file(pathlib.Path(folder) / "model_final.safetensors") for folder in (one, two)
    )
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-4


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_stops_all_and_names_its_photos_alone(
    recipe_of, launch_forks
):
    with pytest.raises(RunError, match="not finite at iteration 1") as error:
        launch(train_with_nan, num_gpus=2, args=(recipe_of(),), device="cpu")
    assert len(str(error.value).splitlines()) == 1 + 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "main, error, words",
    [
        (fail, ArtefactError, "rank 1 found something"),
        (crash, RunError, "process 1 of the run died"),
    ],
)
def test_a_process_that_fails_ends_the_others_and_its_error_is_raised(
    launch_forks, tmp_path, main, error, words
):
    start = time.monotonic()  # nobody waits for the dead until the group gives up
    with pytest.raises(error, match=words):
        launch(main, num_gpus=2, args=(str(tmp_path),), device="cpu")
    assert time.monotonic() - start < launching.WAIT.total_seconds() / 2


def test_one_process_needs_no_group_and_returns_what_main_returns(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert launch(lambda a, b: (a, b, torch.distributed.is_initialized()), args=(1, 2)) == (
        1,
        2,
        False,
    )


def test_a_torchrun_of_one_is_one_process(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launch(lambda: torch.distributed.is_initialized(), num_gpus=8) is False


@pytest.mark.parametrize(
    "numbers",
    [
        {"num_gpus": 0},
        {"num_machines": 0},
        {"num_machines": 2, "machine_rank": 2},
        {"num_machines": 2, "dist_url": "auto"},
    ],
)
def test_impossible_numbers_of_processes_are_refused(numbers):
    with pytest.raises(UsageError):
        launch(print, **numbers)


def test_processes_without_a_gpu_each_talk_over_gloo(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert launching.backend(2, "cuda") == "nccl"
    assert launching.backend(3, "cuda") == "gloo"
    assert launching.backend(2, "cpu") == "gloo"
