"""The rows of all processes, for losses that compare rows with each other or with a memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable


@torch.no_grad()
def gather_rows(
    embedding: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings and targets of all processes, by rank, equal in every process; without
    gradient.

    In one process they are what was given. All processes must hold equally many rows, as the
    samplers see to.

    Args:
        embedding: [B, D].
        targets: int64 [B].

    Returns:
        [processes * B, D] and int64 [processes * B].
    """
    return gather_tensor(embedding.detach()), gather_tensor(targets.detach())


def gather_with_gradient(embedding: torch.Tensor) -> torch.Tensor:
    """The embeddings of all processes, by rank; a row's gradient goes back to where it came from.

    There it is the sum over all processes. Where processes average their gradients afterwards, the
    mean of their losses is what is descended, as if one process had all rows.

    Args:
        embedding: [B, D], as many rows in every process.

    Returns:
        [processes * B, D]; in one process what was given.
    """
    if not has_several_processes():
        return embedding
    gathered: torch.Tensor = _Gather.apply(embedding)
    return gathered


def has_several_processes() -> bool:
    """Whether there are others to gather from."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def count_processes() -> int:
    """How many processes take part in the training."""
    return dist.get_world_size() if has_several_processes() else 1


def first_own_row(rows: int) -> int:
    """The place of this process's first row among the gathered ones, where each has `rows`."""
    return dist.get_rank() * rows if has_several_processes() else 0


@torch.no_grad()
def sum_over_processes(number: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor of every process, without gradient; in one process a copy of it."""
    total = number.detach().clone()
    if has_several_processes():
        dist.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    """See `gather_with_gradient`. An all-reduce serves the way back: gloo has no reduce-scatter."""

    @staticmethod
    def forward(ctx: Any, embedding: torch.Tensor) -> torch.Tensor:
        ctx.rows = len(embedding)
        return gather_tensor(embedding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def gather_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, by rank, of a tensor that is equally large in each; without
    gradient. In one process they are what was given.
    """
    if not has_several_processes():
        return tensor
    rows = [
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        for _ in range(dist.get_world_size())
    ]
    dist.all_gather(rows, tensor.contiguous())
    return torch.cat(rows)
