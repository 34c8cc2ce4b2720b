"""One rectangle of the map hidden from a whole batch."""

from __future__ import annotations

import torch
from torch import nn


class DropRectangle(nn.Module):
    """BatchDrop: in training one rectangle, the same for every image and channel of a batch, is set
    to 0.

    It is round(height * h) x round(width * w) large, Python's round, which takes a half to the even
    number, and lies anywhere inside the map with equal chance. The rest is not rescaled; in
    evaluation nothing happens. Dai et al., Batch DropBlock Network for Person Re-Identification and
    Beyond, 2019.

    Args:
        height: share of the map's height.
        width: share of its width.

    Raises:
        ValueError: a share outside (0, 1], or both 1, which would hide all.
    """

    def __init__(self, height: float, width: float) -> None:
        super().__init__()
        if not 0 < height <= 1 or not 0 < width <= 1 or height == width == 1:
            raise ValueError(
                f"height and width must be shares in (0, 1], not both 1, got {height} and {width}"
            )
        self.height, self.width = height, width

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        if not self.training:
            return maps
        high, wide = round(self.height * maps.shape[2]), round(self.width * maps.shape[3])
        top, left = (
            int(torch.randint(length - size + 1, ()))
            for length, size in zip(maps.shape[2:], (high, wide), strict=True)
        )
        kept = maps.new_ones(maps.shape[2:])
        kept[top : top + high, left : left + wide] = 0
        return maps * kept
