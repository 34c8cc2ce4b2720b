"""BatchDrop: a global branch beside one that never sees the whole map."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from timm.models.resnet import Bottleneck
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.drop_rectangle import DropRectangle


@BRANCHES.register()
class BatchDrop(nn.Module):
    """Two branches over one map (Dai et al., Batch DropBlock Network, 2019; DIGIX 2020, third
    place).

    The global branch is the mean of the map, a 1x1 convolution, BatchNorm and ReLU. The other is a
    ResNet bottleneck, the rectangle of `layers.drop_rectangle`, the maximum of the map, a linear
    layer, BatchNorm and ReLU. "batch_drop", both side by side, is for retrieval;
    "batch_drop/global" and "batch_drop/drop" are for the losses, which in the source are a
    soft-margin triplet and a smoothed cross-entropy on each.

    Args:
        on: the map, which wants a last stride of 1.
        height: share of the height that is hidden; a third and the full width for persons, 0.5 and
            0.5 elsewhere.
        width: share of the width.
        global_dim: D of the global branch.
        drop_dim: D of the other.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, an illegal share, or channels that 4 does not
            divide.

    Source: Dai et al., Batch DropBlock Network for Person Re-identification and Beyond, ICCV 2019
        (arXiv 1811.07130)
    Example: batch_drop(on='s4', height=0.5, width=0.5)
    """

    def __init__(
        self,
        on: str = "s4",
        height: float = 0.33,
        width: float = 1.0,
        global_dim: int = 512,
        drop_dim: int = 1024,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.on = on
        depth = pick(channels, on, "map of the backbone")
        if depth % 4:
            raise ValueError(f"batch_drop wants a map whose channels 4 divides, {on!r} has {depth}")
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(depth, global_dim, 1),
            nn.BatchNorm2d(global_dim),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.part = nn.Sequential(
            Bottleneck(depth, depth // 4),
            DropRectangle(height, width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(depth, drop_dim),
            nn.BatchNorm1d(drop_dim),
            nn.ReLU(),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.dims = {
            "batch_drop": global_dim + drop_dim,
            "batch_drop/global": global_dim,
            "batch_drop/drop": drop_dim,
        }

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> the three embeddings."""
        whole, part = self.whole(maps[self.on]), self.part(maps[self.on])
        both = torch.cat([whole, part.to(whole.dtype)], dim=1)
        return {"batch_drop": both, "batch_drop/global": whole, "batch_drop/drop": part}
