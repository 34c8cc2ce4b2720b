"""The device a run works on."""

from __future__ import annotations

import logging

import torch

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")


def device(wanted: str) -> str:
    """The device to run on: the wanted one, or the CPU when CUDA is wanted and cannot be had."""
    if not wanted.startswith("cuda"):
        return wanted
    if not torch.cuda.is_available():
        logger.info("MODEL.DEVICE %s: there is no CUDA here, running on the CPU", wanted)
        return "cpu"
    if comm.get_world_size() > 1 and torch.distributed.get_backend() == "gloo":
        logger.info("MODEL.DEVICE %s: fewer GPUs than processes, running on the CPU", wanted)
        return "cpu"
    return wanted
