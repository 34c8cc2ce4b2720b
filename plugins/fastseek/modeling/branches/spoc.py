"""The sum of one map, the middle counting more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.precision import at_least_float
from ._necks import reduce_to


@BRANCHES.register()
class Spoc(nn.Module):
    """Sum-pooled convolutional features (Babenko and Lempitsky, 2015).

    Every position counts exp(-d^2 / (2 sigma^2)), d being its distance from the middle and sigma a
    third of the distance from the middle to the nearest edge (the paper's centering prior). The
    paper's PCA whitening is the enhancer `whiten`; `dim` is its trained form.

    Args:
        on: the map, the last convolution's in the paper.
        prior: whether the middle counts more.
        dim: D of a linear layer behind; 0 leaves it out.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or a negative `dim`.

    Source: Babenko and Lempitsky, Aggregating Deep Convolutional Features for Image Retrieval, ICCV
        2015 (arXiv 1510.07493)
    Example: spoc(on='s4')
    """

    def __init__(
        self, on: str = "s4", prior: bool = True, dim: int = 0, *, channels: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.on, self.prior = on, prior
        width = pick(channels, on, "map of the backbone")
        self.reduce = reduce_to(width, dim)
        self.dims = {"spoc": dim or width}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"spoc": [B, D]} of length 1 before the linear layer."""
        whole = at_least_float(maps[self.on])
        if self.prior:
            whole = whole * _center_weights(whole)
        return {"spoc": self.reduce(F.normalize(whole.sum(dim=(2, 3)), dim=1))}


def _center_weights(whole: torch.Tensor) -> torch.Tensor:
    """[h, w] weights of the positions."""
    height, width = whole.shape[2:]
    rows = torch.arange(height, device=whole.device, dtype=whole.dtype) - (height - 1) / 2
    columns = torch.arange(width, device=whole.device, dtype=whole.dtype) - (width - 1) / 2
    sigma = min(height, width) / 2 / 3
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * sigma**2))
