"""What an image's parts look like to one another, added to what they look like."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.gem import Gem
from ._necks import check_dim

KERNEL = 3  # of every convolution over the window


@BRANCHES.register()
class SelfSimilarity(nn.Module):
    """Structural embedding of SENet (Lee et al., 2023), which has nothing to do with
    squeeze-and-excitation.

    Every position, brought to length 1, is multiplied channel by channel with its neighbors in a
    window; values below zero are set to zero. Convolutions over the window, each with BatchNorm and
    ReLU, shrink it, and its mean is the position's self-similarity descriptor. It is added to the
    map, two 1x1 convolutions follow, then GeM and a linear layer.

    Args:
        on: the map.
        hidden: channels in which positions are compared; a 1x1 convolution brings them back.
        window: height and width of the neighborhood, odd, 7 in the paper.
        dim: D of the embedding.
        p: GeM's exponent, or where it starts.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Lee et al., Revisiting Self-Similarity: Structural Embedding for Image Retrieval, CVPR
        2023, self-similarity encoding
    Example: self_similarity(on='s4', hidden=256, window=7, dim=512)
    """

    def __init__(
        self,
        on: str = "s4",
        hidden: int = 256,
        window: int = 7,
        dim: int = 512,
        p: float = 3.0,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if window < KERNEL or not window % 2:
            raise ValueError(f"window must be odd and {KERNEL} or more, got {window}")
        self.on, self.window = on, window
        width = pick(channels, on, "map of the backbone")
        self.reduce = nn.Conv2d(width, check_dim(hidden), 1, bias=False)
        self.encode = nn.Sequential(*(_shrink(hidden) for _ in range(window // 2)))
        self.restore = nn.Conv2d(hidden, width, 1)
        self.mix = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))
        self.pool = Gem(p)
        self.neck = nn.Linear(width, check_dim(dim))
        self.dims = {"self_similarity": dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"self_similarity": [B, dim]}."""
        whole = maps[self.on]
        fused = self.mix(whole + self.restore(self.describe(whole)))
        return {"self_similarity": self.neck(self.pool(fused))}

    def describe(self, whole: torch.Tensor) -> torch.Tensor:
        """The self-similarity descriptors [B, hidden, h, w] of a map [B, C, h, w]."""
        units = F.normalize(self.reduce(whole), dim=1)
        batch, hidden, height, width = units.shape
        around = F.unfold(units, self.window, padding=self.window // 2)
        around = around.view(batch, hidden, self.window, self.window, height * width)
        alike = around.permute(0, 1, 4, 2, 3) * units.flatten(2)[..., None, None]
        found: torch.Tensor = self.encode(alike.clamp(min=0)).mean(dim=(3, 4))
        return found.view(batch, hidden, height, width)


def _shrink(hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(hidden, hidden, (1, KERNEL, KERNEL)), nn.BatchNorm3d(hidden), nn.ReLU()
    )
