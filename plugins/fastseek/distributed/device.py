"""The device a run works on."""

from __future__ import annotations

import logging

import torch

from ..errors import UsageError, shorten

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")


def device(wanted: str) -> str:
    """The device to run on: the wanted one, or the CPU when CUDA is wanted and cannot be had.

    Raises:
        UsageError: this machine, or this torch, has no such device.
    """
    if not wanted.startswith("cuda"):
        return _check_device(wanted)
    if not torch.cuda.is_available():
        logger.info("MODEL.DEVICE %s: there is no CUDA here, running on the CPU", wanted)
        return "cpu"
    if comm.get_world_size() > 1 and torch.distributed.get_backend() == "gloo":
        logger.info("MODEL.DEVICE %s: fewer GPUs than processes, running on the CPU", wanted)
        return "cpu"
    return _check_device(wanted)


def _check_device(wanted: str) -> str:
    try:
        torch.empty(1, device=wanted)
    except Exception as error:  # each backend of torch has its own way to say that it is not there
        raise UsageError(
            f"MODEL.DEVICE {wanted}: there is no such device here"
            f" ({shorten(str(error).partition(chr(10))[0])}); take cpu, or cuda"
        ) from error
    return wanted
