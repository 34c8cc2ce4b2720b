"""One pooled map and a neck: the plain members of the landmark ensembles."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...errors import UsageError
from ...registry import BRANCHES, pick
from ..layers.gem import pool as pooling
from ._necks import neck as make_neck


@BRANCHES.register()
class LinearNeck(nn.Module):
    """Pooling, then a linear layer with what follows it.

    The neck of the hybrid EfficientNet-Swin is `linear_neck(pool='none')`. A plain EfficientNet of
    the 3rd place in 2020 is `timm(name, stages=(4,), head=True)` with `linear_neck(on='head',
    pool='avg', neck='fc_swish')`.

    Args:
        on: the map.
        pool: "gem" (p trained), "avg", or "none" for a map of one position.
        dim: D of the embedding.
        neck: "fc_bn_prelu", "fc_swish" or "fc", see `necks`.
        p: where GeM's exponent starts.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an unknown choice.

    Source: Henkel, Efficient Large-Scale Image Retrieval with Deep Feature Orthogonality and
        Hybrid-Swin-Transformers, 2021 (arXiv 2110.03786)
    Example: linear_neck(on='s4', pool='gem', dim=512)
    """

    def __init__(
        self,
        on: str = "s4",
        pool: str = "gem",
        dim: int = 512,
        neck: str = "fc_bn_prelu",
        p: float = 3.0,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.on = on
        width = pick(channels, on, "map of the backbone")
        self.pool = None if pool == "none" else pooling(pool, p)
        self.neck = make_neck(width, dim, neck)
        self.dims = {"linear_neck": dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"linear_neck": [B, dim]}.

        Raises:
            UsageError: pool is "none", and the map has several positions.
        """
        features = maps[self.on]
        if self.pool is None and features.shape[2:] != (1, 1):
            raise UsageError(
                f"linear_neck(pool='none') wants a map of one position, {self.on!r} has "
                f"{' x '.join(map(str, features.shape[2:]))}: set pool='gem' or 'avg'"
            )
        return {
            "linear_neck": self.neck(
                features.flatten(1) if self.pool is None else self.pool(features)
            )
        }
