"""Building a recipe's model."""

from __future__ import annotations

import logging

from timm.layers import convert_sync_batchnorm
from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import UsageError
from .layers.gather import has_several_processes
from .layers.trainer_contract import asks_for_sync

from fastreid.config import CfgNode
from fastreid.modeling import build_model as fastreid_build_model

logger = logging.getLogger("fastreid.fastseek")


def build_model(cfg: CfgNode) -> nn.Module:
    """The model by fast-reid's registries, on MODEL.DEVICE, without the weights of MODEL.WEIGHTS.

    Raises:
        UsageError: the backbone has no such depth, or fast-reid lacks what it needs to fetch
            pretrained weights; or batch norm over processes is wanted without GPUs.
    """
    backbone = cfg.MODEL.BACKBONE
    try:
        model = fastreid_build_model(cfg)
    except ModuleNotFoundError as error:
        if error.name != "gdown":
            raise
        raise UsageError(
            "MODEL.BACKBONE.PRETRAIN True: fast-reid fetches weights with gdown (pip install"
            " gdown); or name a file in MODEL.BACKBONE.PRETRAIN_PATH, or set PRETRAIN False"
        ) from error
    except KeyError as error:
        if cfg.SEEK.BACKBONE or error.args != (backbone.DEPTH,):
            raise
        raise UsageError(
            f"MODEL.BACKBONE.DEPTH is {backbone.DEPTH!r}: {backbone.NAME} has no such depth (a"
            " ResNet has 18x, 34x, 50x and 101x)"
        ) from error
    if asks_for_sync(cfg):
        model = synchronize_norms(model)
    sizes = [value.numel() for value in model.parameters()]
    logger.info(
        "%s: %.2f million parameters in %d tensors",
        cfg.MODEL.META_ARCHITECTURE,
        sum(sizes) / 1e6,
        len(sizes),
    )
    return model


def synchronize_norms(model: nn.Module) -> nn.Module:
    """Let every batch norm take its statistics over the images of all processes.

    MODEL.BACKBONE.NORM or MODEL.HEADS.NORM "syncBN" asks for it. In one process the model stays as
    it is; names and values of the tensors stay in any case.

    Args:
        model: changed in place where possible.

    Raises:
        UsageError: there are several processes and no GPU, which torch needs for it.
    """
    if not has_several_processes():
        return model
    if next(model.parameters()).device.type == "cpu":
        raise UsageError('NORM "syncBN" needs GPUs in several processes: take "BN" on a CPU')
    return convert_sync_batchnorm(model)
