"""Several receptive fields at once: parallel dilated convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class MultiAtrous(nn.Module):
    """Parallel dilated 3x3 convolutions, joined by a 1x1 convolution and ReLU; any input size.

    Args:
        channels: C of the input.
        width: channels of every parallel convolution.
        out: channels of the result.
        dilations: one 3x3 convolution each, padded so that the size stays.
        pointwise: adds a parallel 1x1 convolution.
        image_pool: adds the mean of the map, a 1x1 convolution and ReLU, spread over all positions.

    Raises:
        ValueError: nothing to run in parallel.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        out: int,
        dilations: Sequence[int],
        pointwise: bool = False,
        image_pool: bool = False,
    ) -> None:
        super().__init__()
        parallel = [
            nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        ]
        if pointwise:
            parallel.insert(0, nn.Conv2d(channels, width, 1))
        self.parallel = nn.ModuleList(parallel)
        self.image_pool = nn.Conv2d(channels, width, 1) if image_pool else None
        fields = len(parallel) + image_pool
        if not fields:
            raise ValueError("multi-atrous needs a dilation, pointwise or image_pool")
        self.join = nn.Conv2d(fields * width, out, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, out, h, w]."""
        fields = [field(maps) for field in self.parallel]
        if self.image_pool is not None:
            mean = F.relu(self.image_pool(maps.mean(dim=(2, 3), keepdim=True)))
            fields.insert(
                0, mean.expand_as(fields[0]) if fields else mean.expand(-1, -1, *maps.shape[2:])
            )
        return F.relu(self.join(torch.cat(fields, dim=1)))
