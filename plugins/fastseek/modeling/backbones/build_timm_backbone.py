"""Our backbones in fast-reid's own registry, for its stock `Baseline`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ... import compat  # noqa: F401  (before anything that imports fastreid)
from ...errors import UsageError
from ...registry import BACKBONES, build
from ..layers.part_protocols import Backbone
from ..layers.trainer_contract import TrainerContract

from fastreid.modeling.backbones import BACKBONE_REGISTRY


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: Any) -> nn.Module:
    """The backbone SEEK.BACKBONE names, returning its deepest map [B, C, h, w] alone.

    Args:
        cfg: a fast-reid CfgNode with our keys; MODEL.BACKBONE.FEAT_DIM must be the channels of that
            map.

    Raises:
        UsageError: SEEK.BACKBONE is empty or cannot be built, or FEAT_DIM is another number.
    """
    if not cfg.SEEK.BACKBONE:
        raise UsageError(
            "build_timm_backbone builds SEEK.BACKBONE, which is empty: "
            "set it, such as \"timm('resnet18', stages=(4,))\""
        )
    backbone = Deepest(build(cfg.SEEK.BACKBONE, BACKBONES), TrainerContract(cfg))
    if backbone.channels != cfg.MODEL.BACKBONE.FEAT_DIM:
        raise UsageError(
            f"the deepest map of {cfg.SEEK.BACKBONE} has {backbone.channels} channels: "
            f"set MODEL.BACKBONE.FEAT_DIM to that, it is {cfg.MODEL.BACKBONE.FEAT_DIM}"
        )
    return backbone


class Deepest(nn.Module):
    """The deepest map of a backbone; `channels` tells its C.

    Args:
        net: a member of BACKBONES, built.
        contract: what it asks of a trainer.
    """

    def __init__(self, net: Backbone, contract: TrainerContract) -> None:
        super().__init__()
        self.contract = contract
        self.net = net
        self.name = max(net.channels)
        self.channels = net.channels[self.name]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised [B, 3, H, W] -> [B, C, h, w]."""
        if self.training and torch.is_grad_enabled():
            self.contract.check_training(self)
        return self.net(images)[self.name]
