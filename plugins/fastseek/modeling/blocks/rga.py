"""Relation-aware global attention over positions and channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import UsageError
from ...registry import BLOCKS
from ._insertion import append, channels
from ._relation import Relation


@BLOCKS.register()
class Rga:
    """Every position, then every channel, weighed by its relations to all others (Zhang et al.,
    RGA-SC, 2020).

    Its weights depend on the size of the map: the fixed form takes no other. The size-free form
    pools the map to the trained size, finds the weights there and spreads those of the positions
    back bilinearly; at the trained size both forms are the same, and share their weights.

    Args:
        at: the stage behind which it stands; DIGIX's second place had it at "s3" of a DenseNet.
        size: (h, w) of the stage's map in training: image height / 16, width / 16 at "s3".
        adaptive: the size-free form.
        spatial: weighs positions.
        channel: weighs channels, after the positions.
        ratio: of all reductions.

    Raises:
        ValueError: an illegal size, or neither spatial nor channel.

    Source: Zhang et al., Relation-Aware Global Attention for Person Re-identification, CVPR 2020
        (arXiv 1904.02998)
    Example: rga(at='s3', size=(16, 16))
    """

    def __init__(
        self,
        at: str = "s3",
        size: Sequence[int] = (16, 16),
        adaptive: bool = False,
        spatial: bool = True,
        channel: bool = True,
        ratio: int = 8,
    ) -> None:
        if len(size) != 2 or min(size) < 1 or ratio < 1:
            raise ValueError(
                f"size must be (h, w) of the map and ratio positive, got {size!r} and {ratio}"
            )
        if not spatial and not channel:
            raise ValueError("rga wants spatial, channel or both")
        height, width = size
        self.at = at
        self.size = (height, width)
        self.adaptive = adaptive
        self.spatial = spatial
        self.channel = channel
        self.ratio = ratio

    def __call__(self, backbone: Any) -> Any:
        """The same backbone, with the attention in it.

        Raises:
            ValueError: the backbone has no such stage, or the map is too small (h * w under 56 with
                ratio 8).
        """
        block = RelationAware(
            channels(backbone, self.at),
            self.size,
            self.adaptive,
            self.spatial,
            self.channel,
            self.ratio,
        )
        append(backbone, self.at, "rga", block)
        return backbone


class RelationAware(nn.Module):
    """The block itself.

    Args:
        width: C.
        size: (h, w) of the map in training.
        adaptive: takes maps of other sizes as well.
        spatial: weighs positions.
        channel: weighs channels.
        ratio: of all reductions.

    Raises:
        ValueError: the map has too few positions or channels.
    """

    def __init__(
        self,
        width: int,
        size: tuple[int, int],
        adaptive: bool = False,
        spatial: bool = True,
        channel: bool = True,
        ratio: int = 8,
    ) -> None:
        super().__init__()
        positions = size[0] * size[1]
        self.size, self.adaptive = size, adaptive
        self.spatial = Relation(positions, width, ratio) if spatial else None
        self.channel = Relation(width, positions, ratio) if channel else None

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, C, h, w].

        Raises:
            UsageError: the map is not of the trained size, and the block is not size-free.
        """
        if tuple(maps.shape[2:]) != self.size and not self.adaptive:
            raise UsageError(
                f"rga was made for maps of {self.size}, this one is {tuple(maps.shape[2:])}: its"
                " weights depend on the size. Set size= to it, or adaptive=True to test at other"
                " sizes"
            )
        if self.spatial is not None:
            weights = self.spatial(self._pool_to_size(maps).flatten(2)).unflatten(2, self.size)
            maps = maps * self._spread(weights, maps)
        if self.channel is not None:
            weights = self.channel(self._pool_to_size(maps).flatten(2).transpose(1, 2))
            maps = maps * weights.transpose(1, 2)[..., None]
        return maps

    def _pool_to_size(self, maps: torch.Tensor) -> torch.Tensor:
        return (
            maps if tuple(maps.shape[2:]) == self.size else F.adaptive_avg_pool2d(maps, self.size)
        )

    def _spread(self, weights: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        if weights.shape[2:] == maps.shape[2:]:
            return weights
        return F.interpolate(weights, size=maps.shape[2:], mode="bilinear", align_corners=False)
