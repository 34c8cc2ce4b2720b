"""Residuals to learned cluster centers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.cross_attention import flatten_map
from ..layers.precision import at_least_float, full_precision
from ._necks import reduce_to


@BRANCHES.register()
class NetVlad(nn.Module):
    """NetVLAD (Arandjelovic et al., 2016).

    Every position, brought to length 1, is shared out over K clusters by a softmax of a linear
    layer; V(k) sums its residuals x - c_k with these shares (equation 4). Each V(k) is brought to
    length 1, then all of them together. The linear layer starts as 2 alpha c_k and -alpha |c_k|^2
    (equation 3), and learns apart from the centers.

    Args:
        on: the map.
        clusters: K.
        alpha: how sharp the shares are at first.
        dim: D of a linear layer behind; 0 leaves K * C.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Arandjelovic et al., NetVLAD: CNN Architecture for Weakly Supervised Place Recognition,
        CVPR 2016 (arXiv 1511.07247)
    Example: net_vlad(on='s4', clusters=64, dim=512)
    """

    def __init__(
        self,
        on: str = "s4",
        clusters: int = 64,
        alpha: float = 100.0,
        dim: int = 0,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if clusters < 1 or alpha <= 0:
            raise ValueError(
                f"clusters must be 1 or more and alpha positive, got {clusters} and {alpha}"
            )
        self.on = on
        width = pick(channels, on, "map of the backbone")
        centers = F.normalize(torch.randn(clusters, width), dim=1)
        self.centers = nn.Parameter(centers)
        self.assign = nn.Linear(width, clusters)
        with torch.no_grad():
            self.assign.weight.copy_(2 * alpha * centers)
            self.assign.bias.copy_(-alpha * centers.square().sum(dim=1))
        self.reduce = reduce_to(clusters * width, dim)
        self.dims = {"net_vlad": dim or clusters * width}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"net_vlad": [B, D]} of length 1 before the linear layer."""
        whole = maps[self.on]
        with full_precision(whole):
            tokens = F.normalize(flatten_map(at_least_float(whole)), dim=2)
            shares = self.assign(tokens).softmax(dim=2)
            # The sum of share times residual, without the residual of every position.
            sums = shares.transpose(1, 2) @ tokens
            residuals = sums - shares.sum(dim=1)[..., None] * self.centers
            vector = F.normalize(residuals, dim=2).flatten(1)
            return {"net_vlad": self.reduce(F.normalize(vector, dim=1))}
