"""Islands of float32 inside mixed precision."""

from __future__ import annotations

import contextlib

import torch


def full_precision(like: torch.Tensor) -> contextlib.AbstractContextManager[None]:
    """A context without autocast on the device of `like`; the caller turns its inputs into floats
    itself.
    """
    device = like.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return contextlib.nullcontext()
    return torch.autocast(device, enabled=False)


def at_least_float(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32, or as it is when it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
