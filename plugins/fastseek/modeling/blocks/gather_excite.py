"""Gather-excite in its three kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import GatherExcite as ThetaMinus
from torch import nn

from ...errors import UsageError
from ...registry import BLOCKS
from ._attention import Attention, reduced_channels

KINDS = ("theta-", "theta", "theta+")


@BLOCKS.register()
class GatherExcite(Attention):
    """x * sigmoid(what its surroundings of some extent tell), for every channel (Hu et al.,
    Gather-Excite, 2018).

    - "theta-", without parameters: the mean of the map, or average pooling with kernel 2e - 1 and
      stride e.
    - "theta": a depth-wise convolution over the whole map and BatchNorm; for a finite extent
      log2(e) depth-wise 3x3 convolutions of stride 2, each with BatchNorm, ReLU between them.
    - "theta+": the same, BatchNorm and ReLU, and a bottleneck of 1x1 convolutions C -> C/ratio -> C
      with ReLU.

    What is gathered is spread back by its nearest value. timm's module serves "theta-"; its others
    cannot be built.

    Args:
        at: the stage.
        inside: one at the end of every residual branch of the stage, as in the paper, not one
            behind it.
        kind: "theta-", "theta" or "theta+".
        extent: e, a power of 2; 0 is the whole map.
        size: (h, w) of the stage's map, which "theta" and "theta+" over the whole map need.
        ratio: of the bottleneck.

    Raises:
        ValueError: an unknown kind, an extent that is no power of 2, or a size that is missing.

    Source: Hu et al., Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks,
        NeurIPS 2018 (arXiv 1810.12348)
    Example: gather_excite(at='s4', kind='theta-')
    """

    def __init__(
        self,
        at: str = "s4",
        inside: bool = False,
        kind: str = "theta-",
        extent: int = 0,
        size: Sequence[int] | None = None,
        ratio: int = 16,
    ) -> None:
        super().__init__(at, inside)
        reduced_channels(1, ratio)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if extent and (extent < 2 or extent & (extent - 1)):
            raise ValueError(f"extent must be 0 (the whole map) or a power of 2, got {extent}")
        needs_size = kind != "theta-" and not extent
        if needs_size and (size is None or len(size) != 2 or min(size) < 1):
            raise ValueError(
                f"kind {kind!r} over the whole map needs size=(h, w) of the map, got {size!r}"
            )
        self.kind = kind
        self.extent = extent
        self.ratio = ratio
        self.size = (size[0], size[1]) if needs_size and size is not None else None

    def make(self, channels: int) -> nn.Module:
        """The module for so many channels."""
        if self.kind == "theta-":
            return ThetaMinus(channels, extra_params=False, use_mlp=False, extent=self.extent)
        excite: nn.Module = nn.Identity()
        if self.kind == "theta+":
            excite = _bottleneck(channels, reduced_channels(channels, self.ratio))
        if self.size is None:
            gather = _strided_gather(channels, self.extent)
        else:
            gather = _whole_gather(channels, self.size)
        return Theta(gather, excite, self.size)


class Theta(nn.Module):
    """Gather-excite with parameters.

    Args:
        gather: [B, C, h, w] to a smaller map.
        excite: of the smaller map, before the sigmoid.
        size: (h, w) it works for, or None for any.
    """

    def __init__(self, gather: nn.Module, excite: nn.Module, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.gather, self.excite, self.size = gather, excite, size

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, C, h, w].

        Raises:
            UsageError: the map is not of the size the block was made for.
        """
        if self.size is not None and tuple(maps.shape[2:]) != self.size:
            raise UsageError(
                f"gather_excite was made for maps of {self.size}, this one is"
                f" {tuple(maps.shape[2:])}: its weights depend on the size. Set size=, or an"
                " extent, which takes any size"
            )
        weights = self.excite(self.gather(maps))
        return maps * F.interpolate(weights, size=maps.shape[2:]).sigmoid()


def _whole_gather(channels: int, size: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, size, groups=channels, bias=False), nn.BatchNorm2d(channels)
    )


def _strided_gather(channels: int, extent: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(int(math.log2(extent))):
        layers += [nn.ReLU()] if layers else []
        layers += [
            nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
        ]
    return nn.Sequential(*layers)


def _bottleneck(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1)
    )
