"""BNNeck: BatchNorm between the feature of the metric losses and the feature of the classifier."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import BRANCHES
from ..layers.gem import pool as pooling
from .maps import of_map


@BRANCHES.register()
class Bnneck(nn.Module):
    """One pooled map, with and without BatchNorm (Luo et al., Bag of Tricks for Person Re-Identification, 2019).

    "bnneck" (after BatchNorm, whose bias stays 0) is for retrieval and the classifier; "bnneck/before" is for
    triplet and other metric losses.

    Args:
        on: the map.
        pool: "avg" or "gem" (p trained).
        p: where GeM's exponent starts.
        dim: D of a linear layer in between; 0 leaves it out.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an unknown pooling.
    """

    def __init__(self, on: str = "s4", pool: str = "avg", p: float = 3.0, dim: int = 0, *,
                 channels: Mapping[str, int]) -> None:
        super().__init__()
        self.on = on
        width = of_map(channels, on)
        self.pool = pooling(pool, p)
        self.reduce = nn.Linear(width, dim, bias=False) if dim else nn.Identity()
        self.norm = nn.BatchNorm1d(dim or width)
        self.norm.bias.requires_grad_(False)
        self.dims = {"bnneck": dim or width, "bnneck/before": dim or width}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"bnneck": [B, D], "bnneck/before": [B, D]}."""
        before = self.reduce(self.pool(maps[self.on]))
        return {"bnneck": self.norm(before), "bnneck/before": before}
