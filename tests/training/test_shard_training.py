"""Trainings whose class weights, or all weights, are shared out over processes: saved, loaded by
other numbers of processes, clipped, refused.
"""

from __future__ import annotations

import errno
import json
import pathlib
import shutil

import pytest
import torch
from safetensors.torch import load_file

from fastseek.distributed import fully_sharded, process_group
from fastseek.distributed.fully_sharded import here, shard_fully
from fastseek.distributed.launch import launch
from fastseek.errors import RunError, UsageError
from fastseek.training import checkpoint_manifest, whole_tensors
from fastseek.training.checkpoint import TAG, Checkpointer
from fastseek.training.evaluation import run_in_step
from fastseek.training.optimizer import OptimizerMemory
from fastseek.training.trainer import Trainer

WEIGHT = "losses.subcenter_arcface.weight"
RECIPE = {
    # Without batch statistics and draws of its own the parts of a batch are the whole batch.
    "SEEK__BACKBONE": "timm(name='test_efficientnet', stages=(4,), bn_eval=True)",
    "SEEK__LOSSES": ["subcenter_arcface(on='gem', s=20, shard=True)"],
    "SEEK__TRAIN": ["resize(32)"],
    "SOLVER__OPT": "AdamW",
    "SOLVER__BASE_LR": 0.0003,
    "SOLVER__CLIP_GRADIENTS__ENABLED": True,
    "SOLVER__CLIP_GRADIENTS__CLIP_TYPE": "norm",
    "SOLVER__CLIP_GRADIENTS__CLIP_VALUE": 0.05,
}


def train(cfg, resume=False):
    """In one of several processes; a function of a module, because new processes import it."""
    torch.set_num_threads(1)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume)
    trainer.train()
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    state = trainer.optimizer.state
    model = process_group.inner(trainer.model)
    told = {
        "rows": len(model.get_parameter(WEIGHT)),
        "numbers": sum(here(one).numel() for one in model.parameters()),
        "moments": sum(here(one["exp_avg"]).numel() for one in state.values()),
    }
    (pathlib.Path(cfg.OUTPUT_DIR) / f"held_{rank}.json").write_text(json.dumps(told))


def losses(folder):
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [line["total_loss"] for line in lines if "total_loss" in line]


def figures(folder):
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [line["metric"] for line in lines if "metric" in line]


def held(folder, processes):
    return [json.loads((folder / f"held_{rank}.json").read_text()) for rank in range(processes)]


def final(folder):
    return load_file(folder / "model_final.safetensors"), load_file(
        folder / "model_final.optimizer"
    )


def assert_close(one, other):
    """Both have the same final weights, but for rounding; returns the other's."""
    first, second = (load_file(folder / "model_final.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-4, atol=1e-5)
    return second


def stopped(whole, folder):
    """A copy of a run's folder as if it had been stopped in its second epoch."""
    shutil.copytree(whole, folder)
    for file in [*folder.glob("model_final*"), *folder.glob("model_best*")]:
        file.unlink()
    (folder / TAG).write_text("model_0000.safetensors")


@pytest.fixture
def run(recipe_of, tmp_path, launch_forks):
    """run(name, processes, resume=False, **changes) -> its folder."""

    def start(name, processes, resume=False, **changes):
        folder = tmp_path / name
        cfg = recipe_of(**{**RECIPE, "OUTPUT_DIR": str(folder), **changes})
        launch(train, num_gpus=processes, args=(cfg, resume), device="cpu")
        return folder

    return start


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_as_one_two_three_or_four(run, tmp_path, monkeypatch):
    monkeypatch.setattr(whole_tensors, "BLOCK", 64)  # two rows of centers travel together
    whole = run("whole", 2)
    one = run("one", 1)
    assert losses(one) == pytest.approx(losses(whole), rel=1e-5)
    assert_close(one, whole)
    assert checkpoint_manifest.fault(whole, "model_final") is None
    weights, memory = final(whole)
    assert weights[WEIGHT].shape == (18, 32) and set(memory) == {
        f"{WEIGHT}:exp_avg",
        f"{WEIGHT}:exp_avg_sq",
    }
    for processes in (1, 2, 3, 4):
        name = f"with{processes}"
        stopped(whole, tmp_path / name)
        folder = run(name, processes, resume=True)
        others = load_file(folder / "model_final.safetensors")
        rows = [one["rows"] for one in held(folder, processes)]
        assert sum(rows) == 18 and max(rows) == 3 * -(-6 // processes)
        for key, value in weights.items():
            same = torch.equal(others[key], value)
            assert same if processes == 2 else torch.allclose(others[key], value, atol=1e-5), key
        if processes == 2:
            assert losses(folder)[-3:] == losses(whole)[-3:]
            assert all(torch.equal(final(folder)[1][key], one) for key, one in memory.items())
        if processes == 1:
            assert not (folder / "model_final.optimizer").exists()


@pytest.mark.slow
def test_weights_that_are_all_shared_out_train_as_in_one_process(
    run, tests_on, tmp_path, monkeypatch
):
    """With the class weights by class, all others by FSDP2; gradients gathered over two batches;
    evaluated on the way.
    """
    monkeypatch.setattr(fully_sharded, "TOGETHER", 10_000)  # blocks of a small network
    options = {"SEEK__FSDP": True, "SEEK__ACCUMULATE": 2}
    evaluated = {**options, "DATASETS__TESTS": tests_on, "TEST__EVAL_PERIOD": 1}
    one, two = (run(f"whole{count}", count, **evaluated) for count in (1, 2))
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)
    assert figures(one) and figures(one) == pytest.approx(figures(two), abs=1e-3)
    assert (two / "model_best.safetensors").exists()
    second = assert_close(one, two)
    (whole,), halves = held(one, 1), held(two, 2)
    for name in ("numbers", "moments"):
        assert sum(half[name] for half in halves) == whole[name]
        assert max(half[name] for half in halves) < 0.55 * whole[name]
    for processes in (2, 1):
        stopped(two, tmp_path / f"on{processes}")
        folder = run(f"on{processes}", processes, resume=True, **options)
        others = load_file(folder / "model_final.safetensors")
        for key, value in second.items():
            same = torch.equal(others[key], value)
            assert same if processes == 2 else torch.allclose(others[key], value, atol=1e-5), key


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {
                "SEEK__FSDP": True,
                "DATASETS__TESTS": ("folder('x')",),
                "SEEK__FOREGROUND": "foreground()",
            },
            "SEEK.FSDP does not go with",
        ),
        ({"SEEK__FSDP": True, "SOLVER__AMP__ENABLED": True}, "take bf16"),
    ],
)
def test_what_all_shared_out_weights_cannot_do_is_refused(recipe_of, changes, told):
    with pytest.raises(UsageError, match=told):
        Trainer(recipe_of(**changes))


def evaluate_unequally(folder):
    """Process 0 has three batches, process 1 one that cannot be read and one that can."""
    rank = torch.distributed.get_rank()
    batches = [torch.ones(2, 3, 4, 4) * number for number in (1, 2, 3)]
    if rank:
        batches = [torch.empty(0), torch.ones(1, 3, 4, 4) * 9]
    calls = []

    def function(batch):
        total = torch.ones(1)
        torch.distributed.all_reduce(total)  # waits for the other process, as FSDP does
        calls.append((len(batch["images"]), total.item()))
        return batch["images"].mean((1, 2, 3))

    made = run_in_step(({"images": one} for one in batches), function)
    outputs = [output.tolist() for _, output in made]
    told = {"outputs": outputs, "calls": calls}
    (pathlib.Path(folder) / f"{rank}.json").write_text(json.dumps(told))


def test_processes_with_unequally_many_batches_run_the_model_as_often(tmp_path, launch_forks):
    launch(evaluate_unequally, num_gpus=2, args=(str(tmp_path),), device="cpu")
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["outputs"] == [[1, 1], [2, 2], [3, 3]] and second["outputs"] == [[], [9]]
    assert first["calls"] == [[2, 2]] * 3 and second["calls"] == [[1, 2]] * 3


def save_on_a_full_disk(folder):
    """The second tensor cannot be written; then there is room."""
    rank = torch.distributed.get_rank()
    model = shard_fully(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)))
    optimizer = OptimizerMemory(torch.optim.SGD(model.parameters()), model)
    made = Checkpointer(model, folder, save_to_disk=not rank, optimizer=optimizer)
    real, calls = whole_tensors._bytes_of, []

    def write(tensor):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(tensor)

    whole_tensors._bytes_of = write
    for save in (made.save, made.save_weights):
        calls.clear()
        with pytest.raises(RunError, match="could not be written .*No space left"):
            save("model")
    whole_tensors._bytes_of = real
    made.save("model")
    (pathlib.Path(folder) / f"told_{rank}").touch()


def test_a_disk_that_is_full_is_told_to_every_process_and_none_waits(tmp_path, launch_forks):
    launch(save_on_a_full_disk, num_gpus=2, args=(str(tmp_path),), device="cpu")
    assert all((tmp_path / f"told_{rank}").exists() for rank in (0, 1))
    assert checkpoint_manifest.fault(tmp_path, "model") is None
