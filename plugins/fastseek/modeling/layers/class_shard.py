"""Class weights shared out over the processes of a run: each holds a block of the classes, and a
softmax over all of them is taken together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel

from ...errors import UsageError
from .gather import gather_tensor, gather_with_gradient, has_several_processes
from .subcenter import centers

DRAWN_TOGETHER = 4096  # classes whose first weights come from one seed
NOT_TOLD_APART = (
    "shard=True in several processes works under `fastseek train` alone: another trainer would"
    " average the weights of different classes, and save those of one process. Leave shard out"
)


class Block(NamedTuple):
    """Which of the classes of a softmax are here.

    Args:
        first: the number of the first one.
        classes: how many there are in all processes.
        shared: whether other processes hold others.
    """

    first: int
    classes: int
    shared: bool


class Rows(NamedTuple):
    """Which rows of a whole parameter a process holds: from `first` up to `last` of `whole`."""

    first: int
    last: int
    whole: int


class ClassShard:
    """The classes whose weights this process holds: all, or a contiguous block of them.

    With w processes, process r holds the classes from C * r // w up to C * (r + 1) // w. Embeddings
    and targets of all processes are brought together, every process works on all rows and its own
    classes, and `block` says what `streamed_loss` and `cross_entropy` need to make one softmax of
    it. An et al., Partial FC, 2022 (arXiv 2203.15565).

    Args:
        classes: C.
        k: centers a class.
        wanted: False leaves all classes in every process.

    Raises:
        ValueError: fewer classes than processes.
    """

    def __init__(self, classes: int, k: int, wanted: bool) -> None:
        self.classes, self.k, self.wanted = classes, k, wanted
        self.shared = wanted and has_several_processes()
        self.processes = dist.get_world_size() if self.shared else 1
        rank = dist.get_rank() if self.shared else 0
        if classes < self.processes:
            raise ValueError(
                f"shard=True: {classes} classes cannot be shared out over {self.processes} processes"
            )
        self.first = classes * rank // self.processes
        self.last = classes * (rank + 1) // self.processes
        self.told_apart = not self.shared  # whether averaging of gradients leaves the weights alone
        self.seed = 0

    @property
    def rows(self) -> Rows:
        """Those of the centers here."""
        return Rows(self.first * self.k, self.last * self.k, self.classes * self.k)

    @property
    def block(self) -> Block:
        """For a softmax over all classes."""
        return Block(self.first, self.classes, self.shared)

    def centers(self, dim: int) -> nn.Parameter:
        """[classes here * k, dim], uniform in +-1/sqrt(dim); with `wanted` the same for every
        number of processes.
        """
        if not self.wanted:
            return centers(self.classes, self.k, dim)
        made = nn.Parameter(torch.empty(self.rows.last - self.rows.first, dim))
        self.seed = int(torch.randint(2**31, (), device="cpu"))
        self.draw(made, self.seed)
        return made

    @torch.no_grad()
    def draw(self, weight: torch.Tensor, seed: int) -> None:
        """Fill the centers of the classes here, in place, as a function of the seed and the class."""
        if weight.device.type == "meta":
            return
        bound = weight.shape[1] ** -0.5
        for start in range(0, self.classes, DRAWN_TOGETHER):
            stop = min(start + DRAWN_TOGETHER, self.classes)
            first, last = max(start, self.first), min(stop, self.last)
            if first < last:
                random = torch.Generator().manual_seed((seed * 1_000_003 + start) % 2**63)
                part = torch.empty((stop - start) * self.k, weight.shape[1], device="cpu")
                part.uniform_(-bound, bound, generator=random)
                here = slice((first - self.first) * self.k, (last - self.first) * self.k)
                weight[here] = part[(first - start) * self.k : (last - start) * self.k]

    def gather(
        self, embedding: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows and targets of all processes where the classes are shared out, else those given.

        Every process has the whole loss, so the gradient of a row is the sum over the processes.
        Averaging afterwards divides it by their number; here it is multiplied by that.

        Raises:
            UsageError: nobody has told the weights apart from those that processes average.
        """
        if not self.shared:
            return embedding, targets
        if not self.told_apart:
            raise UsageError(NOT_TOLD_APART)
        everyone = gather_with_gradient(embedding)
        if everyone.requires_grad:
            everyone.register_hook(lambda grad: grad * self.processes)
        return everyone, gather_tensor(targets)

    def check_whole(self) -> None:
        """Whether scores of all classes can be had here.

        Raises:
            UsageError: other processes hold some of them.
        """
        if self.shared:
            raise UsageError(
                "shard=True: the scores of all classes are in no single process; classify with the"
                " saved weights in one process"
            )


def combine(
    total: torch.Tensor, own: torch.Tensor, everything: torch.Tensor, block: Block
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Over the classes of all processes: the log of the summed exponentials, the logit of the own
    class, and the sum of all logits, each [N].
    """
    if not block.shared:
        return total, own, everything
    top = total.clone()
    dist.all_reduce(top, dist.ReduceOp.MAX)
    sums = torch.stack([(total - top).exp(), own, everything])
    dist.all_reduce(sums)
    return top + sums[0].log(), sums[1], sums[2]


def nearest_class(best: torch.Tensor, place: torch.Tensor, block: Block) -> torch.Tensor:
    """The class with the largest cosine over all processes, the first where several have it.

    Args:
        best: [N], the largest cosine here.
        place: int64 [N], the number of its class.
        block: the classes here.

    Returns:
        int64 [N].
    """
    if not block.shared:
        return place
    top = best.clone()
    dist.all_reduce(top, dist.ReduceOp.MAX)
    found = torch.where(best == top, place, block.classes)
    dist.all_reduce(found, dist.ReduceOp.MIN)
    return found


def add_shares(share: torch.Tensor, block: Block) -> torch.Tensor:
    """The sum of what every process found over its own classes, equal in every process; the
    gradient is that of the own share.
    """
    if not block.shared:
        return share
    total = share.detach().clone()
    dist.all_reduce(total)
    return share + (total - share.detach())


def use_in_shares(value: torch.Tensor, shard: ClassShard) -> torch.Tensor:
    """A parameter every process has, for a loss that is taken in shares.

    Each process knows the gradient of its share alone, and processes average: the sum is wanted.
    """
    more = shard.processes - 1
    return value + more * (value - value.detach()) if more else value


def own_columns(
    scores: torch.Tensor, targets: torch.Tensor, block: Block
) -> tuple[torch.Tensor, torch.Tensor]:
    """The column of the own class and whether it is here, [N, 1] each."""
    column = (targets - block.first).unsqueeze(1)
    here = (column >= 0) & (column < scores.shape[1])
    return column.clamp(0, scores.shape[1] - 1), here


def own_scores(scores: torch.Tensor, targets: torch.Tensor, block: Block) -> torch.Tensor:
    """The score of every row's own class, [N, 1], equal in every process; with a gradient where
    the class is.
    """
    column, here = own_columns(scores, targets, block)
    own = scores.gather(1, column)
    if not block.shared:
        return own
    told = torch.where(here, own.detach(), 0)
    dist.all_reduce(told)
    return torch.where(here, own, told)


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, block: Block, smoothing: float = 0.0
) -> torch.Tensor:
    """The mean cross-entropy over the classes of all processes, equal in every process.

    Args:
        logits: [N, classes here].
        targets: int64 [N], among all classes.
        block: the classes here; others are with other processes.
        smoothing: label smoothing.
    """
    if not block.shared:
        return nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    loss: torch.Tensor = _CrossEntropy.apply(logits, targets, block, smoothing)
    return loss


class _CrossEntropy(torch.autograd.Function):
    """See `cross_entropy`."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, block: Block, smoothing: float
    ) -> torch.Tensor:
        column, here = own_columns(logits, targets, block)
        own = torch.where(here, logits.gather(1, column), 0).squeeze(1)
        total, own, everything = combine(logits.logsumexp(dim=1), own, logits.sum(dim=1), block)
        ctx.save_for_backward(logits, column, here, total)
        ctx.smoothing, ctx.classes = smoothing, block.classes
        aim = (1 - smoothing) * own + smoothing / block.classes * everything
        return (total - aim).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits, column, here, total = ctx.saved_tensors
        slope = (logits - total[:, None]).exp_().sub_(ctx.smoothing / ctx.classes)
        slope.scatter_add_(1, column, torch.where(here, ctx.smoothing - 1, 0).to(slope.dtype))
        return slope.mul_(grad / len(logits)), None, None, None


def shards(model: nn.Module) -> dict[str, tuple[ClassShard, nn.Parameter]]:
    """The weights of a model that are shared out over the processes, by their names.

    A module that holds such has them in `weight`, and its ClassShard in `shard`.
    """
    found = {}
    for place, module in model.named_modules():
        shard = getattr(module, "shard", None)
        if isinstance(shard, ClassShard) and shard.shared:
            found[f"{place}.weight" if place else "weight"] = shard, module.weight
    return found


def rows_here(model: nn.Module) -> dict[str, Rows]:
    """Which rows of its shared weights a process holds, by their names."""
    return {name: shard.rows for name, (shard, _) in shards(model).items()}


def exclude_from_averaging(model: nn.Module) -> None:
    """Let DistributedDataParallel leave the shared weights alone: neither compared nor averaged."""
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, list(shards(model)))
