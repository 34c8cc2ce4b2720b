"""CBAM: attention over channels, then over positions."""

from __future__ import annotations

import torch
from timm.layers.cbam import ChannelAttn
from torch import nn

from ...registry import BLOCKS
from ._attention import Attention, reduced_channels


@BLOCKS.register()
class Cbam(Attention):
    """Convolutional block attention, in the authors' form (Woo et al., CBAM, 2018).

    Channels: sigmoid(MLP(mean) + MLP(maximum)), one MLP with biases for both. Positions: the
    maximum and the mean over the channels, a 7x7 convolution without bias, BatchNorm (momentum
    0.01), sigmoid. timm's own block has an MLP without biases; its authors warn that CBAM may cost
    accuracy where classes are alike.

    Args:
        at: the stage.
        inside: one at the end of every residual branch of the stage, as in the paper, not one
            behind it.
        ratio: the MLP leads from C to C/ratio channels.

    Raises:
        ValueError: ratio is not positive.

    Source: Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018 (arXiv 1807.06521)
    Example: cbam(at='s4')
    """

    def __init__(self, at: str = "s4", inside: bool = False, ratio: int = 16) -> None:
        super().__init__(at, inside)
        self.ratio = ratio
        reduced_channels(1, ratio)

    def make(self, channels: int) -> nn.Module:
        """The module for so many channels."""
        width = reduced_channels(channels, self.ratio)
        return nn.Sequential(ChannelAttn(channels, rd_channels=width, mlp_bias=True), Positions())


class Positions(nn.Module):
    """A weight for every position, from the maximum and the mean over its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        summary = torch.cat([maps.amax(dim=1, keepdim=True), maps.mean(dim=1, keepdim=True)], dim=1)
        return maps * self.norm(self.conv(summary)).sigmoid()
