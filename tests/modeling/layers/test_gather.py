"""Losses that look at other rows than their own, in two processes and in one."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fastseek.modeling import losses  # noqa: F401
from fastseek.modeling.layers.gather import gather_rows
from fastseek.modeling.layers.part_protocols import call_loss
from fastseek.registry import LOSSES, build
from fastseek.structures import Embeddings

CALLS = [
    "center('e', weight=1.0)",
    "center('e', weight=1.0, rule='paper')",
    "center('e', weight=1.0, rule='wen')",
    "curricular('e', dropout=0.0)",
    "prototype('e')",
    "triplet('e')",
    "triplet('e', margin=None, normalize=True)",
    "xbm('e', size=10, start=0)",
    "xbm('e', size=10, start=0, loss='contrastive', margin=0.0)",
    "contrastive('e')",
    "info_nce('e')",
    "supcon('e')",
    "multi_similarity('e')",
    "smooth_ap('e', 0.3)",
    "roadmap('e', 0.3)",
    "recall_at_k('e', inner=0.3)",
    "hyperbolic('e')",
    "proxy_anchor('e')",
    "ada_face('e', s=9)",
    "mag_face('e', s=9, lengths=(0.5, 9))",
    "matryoshka(\"supcon(on='e')\", sizes=(2, 4))",
    "distill('e', 'teacher', 'rkd', cover='any')",
    "distill('e', 'teacher')",
]
STEPS, ROWS, WORLD = 4, 6, 2
IDS = [f"image {row}" for row in range(ROWS)]


def made(call):
    torch.manual_seed(5)
    return build(call, LOSSES, dims={"e": 4}, counts=torch.tensor([9, 9, 9])).train()


def batches():
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(ROWS, 4, generator=generator),
            torch.randint(0, 3, (ROWS,), generator=generator),
        )
        for _ in range(STEPS)
    ]


def run(call, rank, world):
    """Every step's gradient of the own rows and the state at the end."""
    loss, gradients, each = made(call), [], ROWS // world
    own = slice(rank * each, (rank + 1) * each)
    for vectors, targets in batches():
        mine = vectors[own].clone().requires_grad_()
        call_loss(loss, mine, targets[own], IDS[own]).backward()
        gradients.append(mine.grad / world)  # processes average what their losses give
    return gradients, {name: buffer.clone() for name, buffer in loss.named_buffers()}


def process(rank, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD
    )
    rows, labels = gather_rows(
        torch.full((2, 3), float(rank), requires_grad=True), torch.full((2,), rank)
    )
    torch.save(
        {"rows": rows, "labels": labels, "runs": {call: run(call, rank, WORLD) for call in CALLS}},
        f"{folder}/{rank}.pt",
    )
    dist.destroy_process_group()


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """The working folder, in which a teacher's vectors lie."""
    folder = tmp_path_factory.mktemp("gather")
    random = np.random.default_rng(0)
    Embeddings(IDS, random.normal(size=(ROWS, 4)).astype(np.float32)).save(folder / "teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def two(home):
    folder = home
    mp.start_processes(process, (str(folder),), nprocs=WORLD, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def test_one_process_gets_its_own_rows_without_gradient():
    vectors, targets = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 1, 2])
    rows, labels = gather_rows(vectors, targets)
    assert torch.equal(rows, vectors) and torch.equal(labels, targets) and not rows.requires_grad


def test_every_process_gets_the_rows_of_all_by_rank(two):
    for one in two:
        assert one["rows"][:, 0].tolist() == [0, 0, 1, 1] and one["labels"].tolist() == [0, 0, 1, 1]
        assert not one["rows"].requires_grad


@pytest.mark.parametrize("call", CALLS)
def test_all_processes_hold_equal_state_and_it_is_that_of_one_process_with_the_whole_batch(
    two, call
):
    """finegrained rows 13, 37 and 85 in several processes."""
    _, alone = run(call, 0, 1)
    for name, buffer in alone.items():
        first, second = (one["runs"][call][1][name] for one in two)
        assert torch.equal(first, second)
        torch.testing.assert_close(first, buffer)


@pytest.mark.parametrize("call", CALLS)
def test_F14_the_gradients_are_those_of_one_process_with_the_whole_batch(two, call):
    """Triplet mined in the rows of its own process alone: 0.442 in one, 0.099 in eight."""
    alone, _ = run(call, 0, 1)
    for step in range(STEPS):
        both = torch.cat([one["runs"][call][0][step] for one in two])
        torch.testing.assert_close(both, alone[step], rtol=1e-4, atol=1e-6)
