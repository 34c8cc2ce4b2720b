"""Which positions of a map tell something."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .precision import at_least_float, full_precision


class LocalAttention(nn.Module):
    """A unit vector at every position, times a score of at least zero.

    1x1 convolution and BatchNorm give the values; their direction (L2, before ReLU) is the unit
    vector, and ReLU, a 1x1 convolution to one channel and softplus give the score. So the length of
    every output vector is its score.

    Args:
        channels: C of the input.
        out: channels of the result.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.value = nn.Conv2d(channels, out, 1)
        self.norm = nn.BatchNorm2d(out)
        self.score = nn.Conv2d(out, 1, 1)

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, C, h, w] -> (float32 [B, out, h, w], its scores [B, 1, h, w])."""
        values = self.norm(self.value(maps))
        logits = self.score(F.relu(values))
        with full_precision(maps):
            scores = F.softplus(at_least_float(logits))
            return F.normalize(at_least_float(values), dim=1) * scores, scores
