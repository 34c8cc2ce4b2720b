"""A model whose weights are all shared out over the processes (FSDP2), for one that fits no single
device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ..modeling.layers.class_shard import shards

from fastreid.utils import comm

TOGETHER = 2**20  # numbers a block needs to be gathered by itself
Value = TypeVar("Value")


def shard_fully(model: nn.Module) -> nn.Module:
    """Share out the parameters of a model, in place, from those of rank 0; in one process nothing
    is done.

    A step gathers the weights of a block when it comes to it and lets go of them afterwards. Blocks
    are the members of every ModuleList and Sequential that are large enough; the rest is one more.
    Class weights that are shared out by class stay as they are. To be called before the optimizer
    is built, which must hold the parts.
    """
    if comm.get_world_size() == 1:
        return model
    apart = {weight for _, weight in shards(model).values()}
    for parameter in model.parameters():
        if parameter not in apart:
            dist.broadcast(parameter.detach(), src=0)
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (comm.get_world_size(),))
    for block in reversed(_blocks(model)):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=apart)
    return model


def is_fully_sharded(model: nn.Module) -> bool:
    """Whether `shard_fully` has shared out a model's weights."""
    return isinstance(model, FSDPModule)


def let_go(model: nn.Module) -> None:
    """Let go of the weights that were gathered and are still held, as after an evaluation."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def here(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def as_held(own: torch.Tensor, whole: Value) -> Value | torch.Tensor:
    """A whole tensor, or what else is kept beside a parameter, as that parameter is held: of one
    that is shared out, this process's part.
    """
    if not isinstance(own, DTensor) or not isinstance(whole, torch.Tensor) or not whole.ndim:
        return whole
    moved = whole.to(own.device)
    return distribute_tensor(moved, own.device_mesh, own.placements, src_data_rank=None)


def as_model_holds(
    own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Whole tensors as a model holds those of the same names."""
    return {name: as_held(own[name], value) for name, value in tensors.items()}


def _blocks(model: nn.Module) -> list[nn.Module]:
    return [
        member
        for group in model.modules()
        if isinstance(group, nn.ModuleList | nn.Sequential)
        for member in group.children()
        if sum(one.numel() for one in member.parameters()) >= TOGETHER
        and type(member).forward is not nn.Module.forward
    ]
