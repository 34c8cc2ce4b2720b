"""Squeeze-and-excitation."""

from __future__ import annotations

from timm.layers import SEModule
from torch import nn

from ...registry import BLOCKS
from ._attention import Attention, reduced_channels


@BLOCKS.register()
class Se(Attention):
    """x * sigmoid(W2 relu(W1 mean(x))), a weight for every channel (Hu et al.,
    Squeeze-and-Excitation, 2018).

    Args:
        at: the stage.
        inside: one at the end of every residual branch of the stage, not one behind it.
        ratio: W1 leads from C to C/ratio channels.
        bias: whether W1 and W2 have one.

    Raises:
        ValueError: ratio is not positive.

    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018 (arXiv 1709.01507)
    Example: se(at='s4', ratio=16)
    """

    def __init__(
        self, at: str = "s4", inside: bool = False, ratio: int = 16, bias: bool = True
    ) -> None:
        super().__init__(at, inside)
        self.ratio, self.bias = ratio, bias
        reduced_channels(1, ratio)

    def make(self, channels: int) -> nn.Module:
        """The module for so many channels."""
        return SEModule(
            channels, rd_channels=reduced_channels(channels, self.ratio), bias=self.bias
        )
