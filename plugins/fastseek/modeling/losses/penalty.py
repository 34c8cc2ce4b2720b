"""The mean of what a branch wants to be small."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import LOSSES, pick
from ..layers.precision import at_least_float


@LOSSES.register()
class Penalty(nn.Module):
    """The mean of an output that a branch wants to be small, such as the error of an autoencoder.

    Args:
        on: name of the output, such as "delg/reconstruction".
        weight: factor of the loss, 10 for DELG's.
        dims: output name -> D.
        counts: int64 [C], not looked at.

    Raises:
        ValueError: an output that no branch gives.

    Source: Cao, Araujo and Sim, Unifying Deep Local and Global Features for Image Search, ECCV 2020
        (arXiv 2001.05027), the reconstruction loss
    Example: penalty(on='delg/reconstruction', weight=10)
    """

    def __init__(
        self,
        on: str,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        pick(dims, on, "embedding of the branches")
        self.on, self.factor = on, weight

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] -> scalar, whatever the targets."""
        return self.factor * at_least_float(embedding).mean()
