import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from disk_faults import KINDS, each_stop, names
from fastseek.errors import ArtefactError, RunError
from fastseek.io.digests import sha256
from fastseek.modeling.layers.class_shard import ClassShard
from fastseek.training import checkpoint_manifest
from fastseek.training.checkpoint import Checkpointer
from fastseek.training.optimizer import OptimizerMemory
from toy import flip

SUFFIXES = (
    checkpoint_manifest.WEIGHTS,
    checkpoint_manifest.STATE,
    checkpoint_manifest.MANIFEST,
)


def model(value):
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for parameter in made.parameters():
        nn.init.constant_(parameter, value)
    return made


def checkpointer(folder, value=0.0):
    net = model(value)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.arange(15.0).reshape(5, 3).sin()).square().sum().backward()
    optimizer.step()
    return Checkpointer(net, str(folder), optimizer=optimizer)


def what_resumes(folder):
    """The `mark` of the checkpoint a run would go on from, after its weights are compared with the
    mark.
    """
    if not Checkpointer(model(9.0), str(folder)).has_checkpoint():
        return None
    found = checkpointer(folder, 9.0)
    state = found.resume_or_load("")
    expected = checkpointer(folder, state["mark"])
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, expected.model.state_dict()[name]), name
    return state["mark"]


def save(folder, mark, name):
    checkpointer(folder, mark).save(name, mark=mark, run="r")


@pytest.fixture
def quick(monkeypatch):
    """Nothing waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "first, second", [("model_0000", "model_0001"), ("model_final", "model_final")]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_save_that_fails_at_any_operation_leaves_the_old_checkpoint_or_the_new(
    tmp_path, first, second, kind
):
    save(tmp_path / "start", 1.0, first)
    left = []
    for stop in each_stop(tmp_path / "start", lambda folder: save(folder, 2.0, second), kind):
        left.append(what_resumes(stop.folder))
        assert left[-1] in (1.0, 2.0), stop.where
        assert stop.error or left[-1] == 2.0, stop.where
        assert kind == "killed" or isinstance(stop.error, RunError | None), stop.where
        save(stop.folder, 3.0, second)
        assert what_resumes(stop.folder) == 3.0, stop.where
        checkpointer(stop.folder).prune(1, "r")
        kept = {second, first} if first == "model_final" else {second}
        files = {f"{name}{suffix}" for name in kept for suffix in SUFFIXES}
        assert names(stop.folder) == files | {"last_checkpoint"}, stop.where
    assert 1.0 in left and (kind != "killed" or left == sorted(left))


class Shared(nn.Module):
    """Weights that are shared out over processes, of which there is one here."""

    def __init__(self, value):
        super().__init__()
        self.shard = ClassShard(5, 1, True)
        self.shard.shared = True
        self.weight = nn.Parameter(torch.full((5, 3), value))


def shared_checkpointer(folder, value=0.0):
    """Weights, and a momentum that tells them."""
    net = Shared(value)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
    net.weight.grad = torch.full((5, 3), value)
    optimizer.step()
    return Checkpointer(net, str(folder), optimizer=OptimizerMemory(optimizer, net)), optimizer


def which_shared(folder):
    """The value of the checkpoint a run would go on from, None without any."""
    found, optimizer = shared_checkpointer(folder, 9.0)
    if not found.has_checkpoint():
        return None
    found.resume_or_load("")
    momentum = optimizer.state[found.model.weight]["momentum_buffer"]
    assert torch.equal(momentum, found.model.weight)
    return float(momentum[0, 0])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
def test_a_save_of_shared_weights_that_fails_leaves_the_old_checkpoint_or_the_new(tmp_path, kind):
    shared_checkpointer(tmp_path / "start", 1.0)[0].save("model_final", run="r")
    files = {f"model_final{suffix}" for suffix in (*SUFFIXES, checkpoint_manifest.MEMORY)}
    assert names(tmp_path / "start") == files | {"last_checkpoint"}
    left = []
    for stop in each_stop(
        tmp_path / "start",
        lambda folder: shared_checkpointer(folder, 2.0)[0].save("model_final", run="r"),
        kind,
    ):
        left.append(which_shared(stop.folder))
        assert left[-1] in (1.0, 2.0), stop.where
        assert stop.error or left[-1] == 2.0, stop.where
        shared_checkpointer(stop.folder, 3.0)[0].save("model_final", run="r")
        assert which_shared(stop.folder) == 3.0, stop.where
        shared_checkpointer(stop.folder)[0].prune(1, "r")
        assert names(stop.folder) == files | {"last_checkpoint"}, stop.where
    assert 1.0 in left


def test_damage_of_the_shared_optimizer_state_is_noticed(tmp_path):
    shared_checkpointer(tmp_path, 1.0)[0].save("model_0000", run="r")
    shared_checkpointer(tmp_path, 2.0)[0].save("model_0001", run="r")
    flip(tmp_path / f"model_0001{checkpoint_manifest.MEMORY}")
    assert which_shared(tmp_path) == 1.0


def test_shared_weights_that_are_not_finite_are_not_saved(tmp_path):
    saver, _ = shared_checkpointer(tmp_path, float("nan"))
    with pytest.raises(RunError, match="hold NaN"):
        saver.save("model_0000")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_never_was_leaves_nothing_to_resume(tmp_path, kind):
    left = []
    for stop in each_stop(tmp_path / "start", lambda folder: save(folder, 1.0, "model_0"), kind):
        left.append(what_resumes(stop.folder))
        assert left[-1] in (None, 1.0) and (stop.error or left[-1]), stop.where
        assert not isinstance(stop.error, Exception) or "not be written" in str(stop.error)
    assert None in left


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "flipped", "missing", "newer format", "no manifest"]
)
@pytest.mark.parametrize("suffix", [checkpoint_manifest.WEIGHTS, checkpoint_manifest.STATE])
def test_damage_of_the_newest_checkpoint_leads_to_the_one_before(tmp_path, damage, suffix):
    save(tmp_path, 1.0, "model_0000")
    save(tmp_path, 2.0, "model_0001")
    path, manifest = (
        tmp_path / f"model_0001{suffix}",
        tmp_path / f"model_0001{checkpoint_manifest.MANIFEST}",
    )
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        content[-5] ^= 4
        path.write_bytes(content)
    elif damage == "missing":
        path.unlink()
    elif damage == "newer format":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    else:
        manifest.unlink()
    assert checkpoint_manifest.fault(tmp_path, "model_0001")
    assert what_resumes(tmp_path) == 1.0


def test_checkpoints_of_another_run_in_the_folder_are_not_mixed_in(tmp_path):
    checkpointer(tmp_path, 1.0).save("model_0007", mark=1.0, run="old")
    checkpointer(tmp_path, 2.0).save("model_0000", mark=2.0, run="new")
    (tmp_path / "model_0000.state.pt").write_bytes(b"")
    with pytest.raises(ArtefactError, match="model_0000.state.pt has 0 bytes"):
        checkpointer(tmp_path).newest_valid()


def test_too_little_space_is_refused_before_anything_is_touched(tmp_path, monkeypatch):
    save(tmp_path, 1.0, "model_0000")
    before = sorted(path.name for path in tmp_path.iterdir())
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(RunError, match="nothing was touched"):
        save(tmp_path, 2.0, "model_0001")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_model_with_nan_is_not_saved_over_a_good_one(tmp_path):
    save(tmp_path, 1.0, "model_0000")
    bad = checkpointer(tmp_path, 2.0)
    bad.model[0].weight.data[1, 1] = float("nan")
    with pytest.raises(RunError, match="0.weight"):
        bad.save("model_0001", mark=2.0, run="r")
    assert what_resumes(tmp_path) == 1.0


def test_the_state_is_read_without_running_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    save(tmp_path, 1.0, "model_0000")
    path = tmp_path / "model_0000.state.pt"
    with open(path, "wb") as file:
        pickle.dump({"mark": Evil()}, file)
    manifest = json.loads((tmp_path / "model_0000.json").read_text())
    manifest["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    (tmp_path / "model_0000.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError):
        checkpointer(tmp_path).resume_or_load("")
    assert not (tmp_path / "harmed").exists()


def test_weights_alone_are_for_use_and_not_for_resuming(tmp_path):
    save(tmp_path, 1.0, "model_0000")
    checkpointer(tmp_path, 2.0).save_weights("model_best", metric=np.float64(3.0).item())
    assert what_resumes(tmp_path) == 1.0
    assert checkpoint_manifest.fault(tmp_path, "model_best") == "it holds weights only"


def test_tensors_that_share_memory_are_saved_whole(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    net.register_buffer("part", net[0].weight.detach()[:2])
    Checkpointer(net, str(tmp_path)).save("model_0000", run="r")
    saved = load_file(tmp_path / "model_0000.safetensors")
    assert torch.equal(saved["1.weight"], net[0].weight) and torch.equal(
        saved["part"], net[0].weight[:2]
    )


def test_pruning_sweeps_what_killed_writers_left_and_nothing_of_others(tmp_path):
    save(tmp_path, 1.0, "model_0000")
    for name in (
        ".model_0001.safetensors.tmp-7",
        "model_0001.state.pt",
        "model_step_00000009.safetensors",
    ):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "model_mine.safetensors").write_bytes(b"x")
    checkpointer(tmp_path).prune(2, "r")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last_checkpoint",
        "model_0000.json",
        "model_0000.safetensors",
        "model_0000.state.pt",
        "model_mine.safetensors",
    ]
