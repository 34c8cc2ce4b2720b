"""Class weights shared out over 2 and 4 processes, beside one process with the whole batch."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from fastseek.errors import UsageError
from fastseek.modeling import losses  # noqa: F401
from fastseek.modeling.layers.class_shard import (
    DRAWN_TOGETHER,
    ClassShard,
    exclude_from_averaging,
    rows_here,
    shards,
)
from fastseek.registry import LOSSES, build
from fastseek.training.optimizer import clip_shared_norms
from fastseek.training.step import AmpStep

COUNTS = torch.arange(1, 22)
ROWS, DIM = 8, 6
CALLS = [
    "subcenter_arcface('e', s=20, margin='dynamic(0.05, 0.50)', shard=True)",
    "subcenter_arcface('e', s=20, chunk=2, smoothing=0.1, weight=0.5, shard=True)",
    "subcenter_arcface('e', k=1, s=20, sample=0.6, seed=3, shard=True)",
    "arcface('e', s=20, margin='dynamic(0.05, 0.50)', smoothing=0.1, shard=True)",
    "am_softmax('e', s=20, weight=2.0, shard=True)",
    "circle('e', s=20, shard=True)",
    "curricular('e', s=20, dropout=0.0, shard=True)",
    "proxy_anchor('e', alpha=9, shard=True)",
    "proxy_nca('e', smoothing=0.1, shard=True)",
    "uni_face('e', s=20, balance=0.5, shard=True)",
    "ada_face('e', s=20, margin='dynamic(0.05, 0.50)', shard=True)",
    "elastic_face('e', s=20, sigma=0, order=True, shard=True)",
    "mag_face('e', s=20, lengths=(0.5, 2), shard=True)",
    "soft_triple('e', k=2, shard=True)",
]


class Net(torch.nn.Module):
    """A layer every process has, and a loss whose classes are shared out."""

    def __init__(self, call):
        super().__init__()
        torch.manual_seed(5)
        self.layer = torch.nn.Linear(DIM, DIM)
        self.loss = build(call, LOSSES, dims={"e": DIM}, counts=COUNTS)
        if hasattr(self.loss, "at_step"):
            self.loss.at_step(3)

    def forward(self, rows, targets):
        return self.loss(self.layer(rows), targets)


def batch():
    random = torch.Generator().manual_seed(3)
    return torch.randn(ROWS, DIM, generator=random), torch.randint(21, (ROWS,), generator=random)


def steps(call, rank, world):
    """Two steps with momentum: losses, accuracy, gradients and weights of this process."""
    net = Net(call).train()
    for shard, weight in shards(net).values():
        shard.draw(weight, shard.seed)
        shard.told_apart = True
    exclude_from_averaging(net)
    wrapped = DistributedDataParallel(net) if world > 1 else net
    norm = math.inf if "curricular" in call else 2.0
    clipped = clip_shared_norms(torch.optim.SGD, net, 0.05, norm)
    optimizer = clipped(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    rows, targets = (one[rank * ROWS // world : (rank + 1) * ROWS // world] for one in batch())
    values = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = wrapped(rows, targets)
        loss.backward()
        values.append(loss.detach())
        gradients = [one.grad.clone() for one in (net.layer.weight, net.loss.weight)]
        optimizer.step()
    moment = optimizer.state[net.loss.weight]["momentum_buffer"]
    return {
        "values": torch.stack([*values, net.loss.accuracy]),
        "layer": gradients[0],
        "bias": net.layer.bias.detach().clone(),
        "weight": net.loss.weight.detach().clone(),
        "gradient": gradients[1],
        "bytes": torch.tensor(net.loss.weight.nbytes + net.loss.weight.grad.nbytes + moment.nbytes),
    }


def step_with_overflow(rank):
    """How far the weights of this process go in a step in which those of rank 1 alone overflow."""
    net = Net(CALLS[3])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step = AmpStep(net, [], optimizer, dtype=torch.float16)
    step.grad_scaler.scale(torch.ones(()))
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    if rank == 1:
        net.loss.weight.grad[0, 0] = math.inf
    before = net.loss.weight.detach().clone()
    step._update()
    return (net.loss.weight - before).abs().max()


def process(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    found = {call: steps(call, rank, world) for call in CALLS}
    refused = []
    for work in (
        lambda: Net(CALLS[0])(*batch()),
        lambda: Net(CALLS[0]).loss.logits(torch.randn(2, DIM)),
        lambda: Net(CALLS[3]).loss.logits(torch.randn(2, DIM)),
        lambda: ClassShard(world - 1, 1, True),
    ):
        try:
            work()
        except (UsageError, ValueError) as error:
            refused.append(str(error))
    rows = [list(one) for one in rows_here(Net(CALLS[0])).values()]
    told = {"found": found, "refused": refused, "rows": rows, "moved": step_with_overflow(rank)}
    torch.save(told, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What every process of 2 and of 4 found."""
    made = {}
    for world in (2, 4):
        folder = tmp_path_factory.mktemp(f"of{world}")
        mp.start_processes(process, (world, str(folder)), nprocs=world, start_method="fork")
        made[world] = [
            torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)
        ]
    return made


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("call", CALLS)
def test_loss_gradients_and_weights_are_those_of_one_process(told, call, world):
    alone = steps(call, 0, 1)
    each = [one["found"][call] for one in told[world]]
    for found in each:
        for name in ("values", "layer", "bias"):
            torch.testing.assert_close(found[name], alone[name], rtol=1e-5, atol=1e-5)
    for name in ("gradient", "weight"):
        whole = torch.cat([found[name] for found in each])
        torch.testing.assert_close(whole, alone[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("call", CALLS)
def test_shard_changes_nothing_in_one_process(call):
    plain, shared = (Net(one) for one in (call.replace(", shard=True", ""), call))
    plain.load_state_dict(shared.state_dict())
    torch.testing.assert_close(plain(*batch()), shared(*batch()), rtol=0, atol=0)


def test_a_process_of_two_holds_half_the_bytes_and_of_four_a_quarter(told):
    alone = int(steps(CALLS[3], 0, 1)["bytes"])
    row = alone // 21
    for world in (2, 4):
        held = [int(one["found"][CALLS[3]]["bytes"]) for one in told[world]]
        assert sum(held) == alone and max(held) <= alone / world + row


def test_the_blocks_follow_one_another(told):
    for world in (2, 4):
        rows = [one["rows"][0] for one in told[world]]
        assert rows[0][0] == 0 and rows[-1][1] == 63 and {whole for _, _, whole in rows} == {63}
        assert all(one[1] == two[0] for one, two in zip(rows, rows[1:], strict=False))


def test_a_wrapper_that_does_not_know_the_shards_scores_and_too_few_classes_are_refused(told):
    for one in (*told[2], *told[4]):
        average, scores, others, few = one["refused"]
        assert "fastseek train" in average and "no single process" in scores and scores == others
        assert "cannot be shared out" in few


def test_an_overflow_in_the_weights_of_one_process_is_the_step_of_none(told):
    assert [float(one["moved"].detach()) for one in told[2]] == [0.0, 0.0]


def test_the_first_weights_are_those_of_the_class_whatever_process_holds_it():
    classes = DRAWN_TOGETHER + 7
    whole = ClassShard(classes, 2, True)
    weight = torch.empty(2 * classes, 3)
    whole.draw(weight, 11)
    part = ClassShard(classes, 2, True)
    part.first, part.last = DRAWN_TOGETHER - 5, DRAWN_TOGETHER + 3
    here = torch.empty(16, 3)
    part.draw(here, 11)
    assert torch.equal(here, weight[2 * part.first : 2 * part.last])
    assert weight.abs().max() <= 3**-0.5 and weight.std().item() == pytest.approx(1 / 3, rel=0.02)
    assert len(weight.unique(dim=0)) == len(weight)
