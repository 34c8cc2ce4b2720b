"""Plain GeM descriptor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.gem import Gem as GemPool
from ._necks import reduce_to


@BRANCHES.register()
class Gem(nn.Module):
    """Generalized-mean pooling of one map, and a linear layer when `dim` is given (Radenovic et
    al., 2018).

    Args:
        on: the map.
        p: GeM's exponent, or where it starts.
        trainable_p: whether it is trained.
        dim: D of the linear layer; 0 leaves it out.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or a negative `dim`.

    Source: Radenovic, Tolias and Chum, Fine-tuning CNN Image Retrieval with No Human Annotation,
        PAMI 2019 (arXiv 1711.02512)
    Example: gem(dim=256)
    """

    def __init__(
        self,
        on: str = "s4",
        p: float = 3.0,
        trainable_p: bool = True,
        dim: int = 0,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.on = on
        width = pick(channels, on, "map of the backbone")
        self.pool = GemPool(p, trainable_p)
        self.reduce = reduce_to(width, dim)
        self.dims = {"gem": dim or width}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"gem": [B, D]}."""
        return {"gem": self.reduce(self.pool(maps[self.on]))}
