"""DELG: a global descriptor, and local ones that learn beside it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.gem import Gem
from ..layers.precision import at_least_float, full_precision
from ._necks import check_dim


@BRANCHES.register()
class Delg(nn.Module):
    """Deep local and global features (Cao et al., 2020).

    "delg" is the global descriptor: GeM of the deepest map and a linear layer. The local part gets
    no gradient back into the backbone: an autoencoder reduces the earlier map to `local_dim`
    channels and builds it up again, and attention says which positions tell something.
    "delg/local", the attended sum of what was built up, is for a classifier; "delg/reconstruction"
    [B, 1] is the mean squared error of the autoencoder, to be kept small by
    `penalty(on='delg/reconstruction', weight=10)`. `describe_locals` gives the local descriptors.

    Args:
        local: the map of the local part, one stage before the deepest.
        global_: the map of the global part.
        dim: D of the global descriptor, 2048 in the paper.
        local_dim: channels of a local descriptor, 128 in the paper.
        hidden: channels in which attention looks, 512 in the paper.
        p: GeM's exponent, or where it starts.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Cao, Araujo and Sim, Unifying Deep Local and Global Features for Image Search, ECCV 2020
        (arXiv 2001.05027), section 3
    Example: delg(local='s3', global_='s4', dim=512)
    """

    def __init__(
        self,
        local: str = "s3",
        global_: str = "s4",
        dim: int = 2048,
        local_dim: int = 128,
        hidden: int = 512,
        p: float = 3.0,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.local, self.whole = local, global_
        near = pick(channels, local, "map of the backbone")
        deep = pick(channels, global_, "map of the backbone")
        self.pool = Gem(p)
        self.neck = nn.Linear(deep, check_dim(dim))
        self.encode = nn.Conv2d(near, check_dim(local_dim), 1)
        self.decode = nn.Conv2d(local_dim, near, 1)
        self.attention = nn.Sequential(
            nn.Conv2d(near, check_dim(hidden), 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
            nn.Softplus(),
        )
        self.dims = {"delg": dim, "delg/local": near, "delg/reconstruction": 1}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"delg": [B, dim], "delg/local": [B, C], "delg/reconstruction": [B,
        1]}.
        """
        near = maps[self.local].detach()
        rebuilt = F.relu(self.decode(self.encode(near)))
        weights = self.attention(near)
        with full_precision(near):
            near, rebuilt = at_least_float(near), at_least_float(rebuilt)
            attended = (rebuilt * at_least_float(weights)).sum(dim=(2, 3))
            error = (rebuilt - near).square().mean(dim=(1, 2, 3))
        return {
            "delg": self.neck(self.pool(maps[self.whole])),
            "delg/local": attended,
            "delg/reconstruction": error[:, None],
        }

    def describe_locals(
        self, maps: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps -> (descriptors [B, local_dim, h, w] of length 1, their scores [B, h, w])."""
        near = maps[self.local]
        return F.normalize(self.encode(near), dim=1), self.attention(near).squeeze(1)
