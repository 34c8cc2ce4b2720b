"""The sub-center loss under DistributedDataParallel, in chunks and with sampled classes."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from fastseek.modeling import losses  # noqa: F401
from fastseek.registry import LOSSES, build

CALLS = {
    "chunks": "subcenter_arcface('e', s=20, chunk=3, margin='dynamic(0.05, 0.50)')",
    "plain": "subcenter_arcface('e', s=20, chunk=0, margin='dynamic(0.05, 0.50)')",
    "sampled": "subcenter_arcface('e', s=20, sample=0.3, chunk=2)",
}
TARGETS = torch.tensor([0, 7, 7, 19])


def made(call):
    torch.manual_seed(5)
    loss = build(call, LOSSES, dims={"e": 4}, counts=torch.arange(1, 21)).train()
    loss.at_step(3)
    return loss, torch.randn(4, 4)


def process(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {}
    for name, call in CALLS.items():
        loss, vectors = made(call)
        mine = slice(2 * rank, 2 * rank + 2)
        wrapped = DistributedDataParallel(loss)
        for _ in range(2):  # the second time a parameter without a gradient would be an error
            loss.zero_grad()
            wrapped(vectors[mine], TARGETS[mine]).backward()
        found[name] = loss.weight.grad.clone()
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.start_processes(process, (str(folder),), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", ["chunks", "plain"])
def test_two_processes_give_the_centres_the_gradient_of_the_whole_batch(two, name):
    """landmark row 32."""
    loss, vectors = made(CALLS[name])
    loss(vectors, TARGETS).backward()
    for found in two:
        torch.testing.assert_close(found[name], loss.weight.grad)


def test_sampled_classes_leave_the_processes_with_the_same_centres(two):
    """landmark row 32: each drew the same others, kept its own classes, and both got the mean
    gradient.
    """
    assert torch.equal(two[0]["sampled"], two[1]["sampled"])
    parts = []
    for rank in range(2):
        loss, vectors = made(CALLS["sampled"])
        mine = slice(2 * rank, 2 * rank + 2)
        loss(vectors[mine], TARGETS[mine]).backward()
        parts.append(loss.weight.grad)
    torch.testing.assert_close(two[0]["sampled"], (parts[0] + parts[1]) / 2)
    moved = two[0]["sampled"].unflatten(0, (20, 3)).abs().sum((1, 2)) > 0
    assert moved[TARGETS].all() and not moved.all()
