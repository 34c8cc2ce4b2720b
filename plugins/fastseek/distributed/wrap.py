"""Batches on the model's device, and gradients averaged over the processes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..modeling.layers.class_shard import exclude_from_averaging, shards
from . import process_group
from .fully_sharded import is_fully_sharded

from fastreid.utils import comm


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on the device."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }


class DeviceLoader:
    """A loader whose batches are on a device; fast-reid's models and hooks take them as they come.

    Args:
        loader: any loader of batch dicts.
        device: where the tensors go.
    """

    def __init__(self, loader: Iterable[Mapping[str, Any]], device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (to_device(batch, self.device) for batch in self.loader)


def distribute(model: nn.Module) -> nn.Module:
    """The model whose gradients are averaged over the processes, on GPUs or CPUs; with one process
    the model itself.

    Class weights that are shared out stay each process's own, drawn from the seed of rank 0. What
    `shard_fully` has shared out averages its gradients itself.
    """
    if comm.get_world_size() == 1:
        return model
    process_group.share_buffers(model)
    for shard, weight in shards(model).values():
        shard.draw(weight, process_group.share(shard.seed))
        shard.told_apart = True
    if is_fully_sharded(model):
        return model
    exclude_from_averaging(model)
    on_cpu = next(model.parameters()).device.type == "cpu"
    # The buffers stay each process's own between evaluations, as in fast-reid; torch 2.14 has
    # renamed the switch.
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    switch = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    own_buffers: dict[str, Any] = {switch: False}
    # Many recipes leave a parameter without gradient (the class layer under a triplet loss alone,
    # say).
    return DistributedDataParallel(
        model,
        device_ids=None if on_cpu else [torch.cuda.current_device()],
        find_unused_parameters=True,
        **own_buffers,
    )
