"""Selective kernels."""

from __future__ import annotations

import math
from typing import Any

from timm.layers import SelectiveKernel
from timm.models.regnet import Bottleneck as RegNetBottleneck
from timm.models.resnet import Bottleneck as ResNetBottleneck
from torch import nn

from ...registry import BLOCKS
from ._attention import Attention
from ._insertion import residual_blocks


@BLOCKS.register()
class Sk(Attention):
    """A 3x3 and a dilated 3x3 convolution, weighed against each other channel by channel (Li et
    al., SKNet, 2019).

    U is the sum of both; z = relu(BN(W mean(U))) with max(C/ratio, least) channels; a softmax over
    the two branches for every channel. `inside` replaces the 3x3 convolution of every bottleneck of
    the stage, with its normalisation, as in the paper: the weights that were there are lost. Behind
    a stage it is one layer more.

    Args:
        at: the stage.
        inside: replaces the 3x3 convolutions of the stage's bottlenecks (ResNet, RegNet).
        ratio: r of the width of z.
        least: L, the least width of z.
        groups: of both convolutions; the largest common divisor with C when it does not divide C.

    Raises:
        ValueError: ratio, least or groups is not positive.

    Source: Li et al., Selective Kernel Networks, CVPR 2019 (arXiv 1903.06586)
    Example: sk(at='s4')
    """

    def __init__(
        self,
        at: str = "s4",
        inside: bool = False,
        ratio: int = 16,
        least: int = 32,
        groups: int = 32,
    ) -> None:
        super().__init__(at, inside)
        if min(ratio, least, groups) < 1:
            raise ValueError(
                f"ratio, least and groups must be positive, got {ratio}, {least} and {groups}"
            )
        self.ratio, self.least, self.groups = ratio, least, groups

    def __call__(self, backbone: Any) -> Any:
        """The same backbone, with selective kernels in it.

        Raises:
            ValueError: the backbone has no such place.
        """
        if not self.inside:
            return super().__call__(backbone)
        found = [
            (block, conv)
            for block in residual_blocks(backbone, self.at)
            if (conv := _three_by_three(block)) is not None
        ]
        if not found:
            raise ValueError(
                f"{self.at} has no bottlenecks whose 3x3 convolution sk could replace (ResNet and"
                " RegNet have); leave out inside=True to put it behind the stage"
            )
        for block, old in found:
            block.conv2 = self.make(old.in_channels, old.stride[0])
            if isinstance(getattr(block, "bn2", None), nn.Module):
                block.bn2 = nn.Identity()
        return backbone

    def make(self, channels: int, stride: int = 1) -> nn.Module:
        """The module for so many channels."""
        return SelectiveKernel(
            channels,
            stride=stride,
            split_input=False,
            keep_3x3=True,
            groups=math.gcd(self.groups, channels),
            rd_channels=max(channels // self.ratio, self.least),
        )


def _three_by_three(block: nn.Module) -> nn.Conv2d | None:
    """The convolution between the two 1x1 convolutions of a bottleneck."""
    conv = (
        block.conv2.conv if isinstance(block, RegNetBottleneck) else getattr(block, "conv2", None)
    )
    bottleneck = isinstance(block, RegNetBottleneck | ResNetBottleneck)
    return conv if bottleneck and isinstance(conv, nn.Conv2d) else None
