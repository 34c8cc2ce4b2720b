"""What the attention blocks share: where they go."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...registry import recipe_name
from ._insertion import append, channels, hang, residual_blocks, shapes


class Attention:
    """Attention behind a stage, or at the end of the residual branch of each of its blocks; a child
    makes the module.

    Args:
        at: the stage, "s0" to "s4".
        inside: puts one into every residual block of the stage instead of one behind it.
    """

    def __init__(self, at: str, inside: bool) -> None:
        self.at, self.inside = at, inside

    def __call__(self, backbone: Any) -> Any:
        """The same backbone, with the attention in it.

        Raises:
            ValueError: the backbone has no such place.
        """
        name = recipe_name(type(self).__name__)
        if not self.inside:
            append(backbone, self.at, name, self.make(channels(backbone, self.at)))
            return backbone
        blocks = residual_blocks(backbone, self.at)
        for block, shape in zip(blocks, shapes(backbone, blocks), strict=True):
            hang(block, name, self.make(shape[0]))
        return backbone

    def make(self, channels: int) -> nn.Module:
        """A module [B, C, h, w] -> [B, C, h, w] for so many channels."""
        raise NotImplementedError


def reduced_channels(channels: int, ratio: int) -> int:
    """C / ratio, at least 1.

    Raises:
        ValueError: ratio is not positive.
    """
    if ratio < 1:
        raise ValueError(f"ratio must be positive, got {ratio}")
    return max(1, channels // ratio)
