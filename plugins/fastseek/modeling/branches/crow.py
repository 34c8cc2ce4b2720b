"""The weighted sum of one map: strong places and rare channels count more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.precision import at_least_float
from ._necks import reduce_to

EPSILON = 1e-6


@BRANCHES.register()
class Crow(nn.Module):
    """Cross-dimensional weighting (Kalantidis et al., 2016).

    A position's weight is the sum S of its channels, as (S / |S|_a)^(1/b), |S|_a being the a-norm
    over all positions. A channel's weight is log((K eps + sum of Q) / (eps + Q_k)), Q_k being the
    share of positions where channel k of K is above zero. Values below zero count as zero, as
    behind a ReLU. The paper's PCA whitening is the enhancer `whiten`; `dim` is its trained form.

    Args:
        on: the map, the last convolution's in the paper.
        a, b: of the weights of the positions, 2 and 2 in the paper.
        dim: D of a linear layer behind; 0 leaves it out.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Kalantidis, Mellina and Osindero, Cross-dimensional Weighting for Aggregated Deep
        Convolutional Features, ECCVW 2016 (arXiv 1512.04065), spatial and channel weighting
    Example: crow(on='s4')
    """

    def __init__(
        self,
        on: str = "s4",
        a: float = 2.0,
        b: float = 2.0,
        dim: int = 0,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if a <= 0 or b <= 0:
            raise ValueError(f"a and b must be positive, got {a} and {b}")
        self.on, self.a, self.b = on, a, b
        width = pick(channels, on, "map of the backbone")
        self.reduce = reduce_to(width, dim)
        self.dims = {"crow": dim or width}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"crow": [B, D]} of length 1 before the linear layer."""
        whole = at_least_float(maps[self.on]).clamp(min=0)
        weighted = (whole * self._weigh_places(whole)).sum(dim=(2, 3))
        return {"crow": self.reduce(F.normalize(weighted * _weigh_channels(whole), dim=1))}

    def _weigh_places(self, whole: torch.Tensor) -> torch.Tensor:
        """[B, 1, h, w]; the root has no gradient at zero, where eps keeps it finite."""
        sums = whole.sum(dim=1, keepdim=True)
        norm = (sums**self.a).sum(dim=(2, 3), keepdim=True).clamp(min=EPSILON) ** (1 / self.a)
        return (sums / norm + EPSILON) ** (1 / self.b)


def _weigh_channels(whole: torch.Tensor) -> torch.Tensor:
    """[B, C]."""
    share = (whole > 0).to(whole.dtype).mean(dim=(2, 3))
    total = share.sum(dim=1, keepdim=True)
    return torch.log((whole.shape[1] * EPSILON + total) / (EPSILON + share))
