"""What runs a network: torch as it is, torch.compile, or ONNX Runtime."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from ...errors import UsageError, shorten


def find_device(wanted: str) -> torch.device:
    """The device to run on: the wanted one; where none is named a GPU, if there is one.

    Raises:
        UsageError: there is no such device.
    """
    name = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
    except Exception as error:  # each backend of torch has its own way to say that it is not there
        told = shorten(str(error).partition("\n")[0])
        raise UsageError(
            f"device {name}: there is no such device here ({told}): take cpu"
        ) from error
    return torch.device(name)


@dataclasses.dataclass(frozen=True)
class EagerNetwork:
    """A module as torch runs it, with the channels last in memory.

    Args:
        module: images [B, 3, H, W] to [B, D].
        device: where it lies.
    """

    module: nn.Module
    device: torch.device

    def __call__(self, tensors: torch.Tensor) -> torch.Tensor:
        """Tensors on the CPU to float32 vectors on the CPU."""
        with torch.inference_mode():
            seen = tensors.to(self.device, memory_format=torch.channels_last)
            found: torch.Tensor = self.module(seen)
            return found.float().cpu()


def run_eagerly(module: nn.Module, device: torch.device) -> EagerNetwork:
    """The module, moved to the device and its weights laid out with the channels last."""
    return EagerNetwork(module.to(device).to(memory_format=torch.channels_last).eval(), device)
