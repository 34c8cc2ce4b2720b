"""The compact global descriptor of CFCD."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.gem import Gem
from ._necks import check_dim


@BRANCHES.register()
class Cfcd(nn.Module):
    """The descriptor of the coarse stage of CFCD (Zhu et al., 2023): GeM with a fixed exponent, a
    linear layer and BatchNorm.

    Train it with the loss `mada_cos`, the paper's. The paper's fine stage, which goes on with
    triplets of matched local descriptors, is not here.

    Args:
        on: the map.
        dim: D of the embedding, 512 in the paper.
        p: GeM's exponent, 3 in the paper.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Zhu et al., Coarse-to-Fine: Learning Compact Discriminative Representation for
        Single-Stage Image Retrieval, ICCV 2023 (arXiv 2308.04008)
    Example: cfcd(on='s4', dim=512)
    """

    def __init__(
        self, on: str = "s4", dim: int = 512, p: float = 3.0, *, channels: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.on = on
        width = pick(channels, on, "map of the backbone")
        self.pool = Gem(p, trainable=False)
        self.neck = nn.Sequential(nn.Linear(width, check_dim(dim)), nn.BatchNorm1d(dim))
        self.dims = {"cfcd": dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"cfcd": [B, dim]}."""
        return {"cfcd": self.neck(self.pool(maps[self.on]))}
