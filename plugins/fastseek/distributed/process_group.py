"""What the processes of one run tell each other; with one process every function is the
identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from fastreid.utils import comm

Value = TypeVar("Value")


def inner(model: nn.Module) -> nn.Module:
    """The model itself, without the wrapper that averages gradients."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def gather_rows(row: Sequence[float]) -> torch.Tensor:
    """The same-length rows of all processes.

    Args:
        row: this process's numbers.

    Returns:
        float64 [processes, len(row)] on the CPU, equal everywhere.
    """
    mine = torch.tensor(list(row), dtype=torch.float64)
    if comm.get_world_size() == 1:
        return mine[None]
    mine = mine.to(_device())
    rows = [torch.empty_like(mine) for _ in range(comm.get_world_size())]
    dist.all_gather(rows, mine)
    return torch.stack(rows).cpu()


def agree(*flags: bool) -> tuple[bool, ...]:
    """Each flag, raised everywhere when one process raised it."""
    return tuple(bool(flag) for flag in gather_rows([float(flag) for flag in flags]).amax(0))


def share(value: Value) -> Value:
    """What rank 0 holds, in every process."""
    if comm.get_world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=_device())
    return box[0]


def collect(value: Value) -> list[Value]:
    """What every process holds, by rank, in every process."""
    if comm.get_world_size() == 1:
        return [value]
    found = [value] * comm.get_world_size()
    dist.all_gather_object(found, value)
    return found


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """Give every process the buffers of rank 0, in place, so that all go on from what is evaluated
    and saved.

    fast-reid lets the running statistics of batch norm drift apart between processes and saves
    those of rank 0.
    """
    if comm.get_world_size() > 1:
        for buffer in inner(model).buffers():
            dist.broadcast(buffer, src=0)


def _device() -> torch.device:
    nccl = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
