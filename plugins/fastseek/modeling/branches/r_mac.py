"""Regional maxima of one map, without a layer to train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.precision import at_least_float
from ._necks import reduce_to

OVERLAP = 0.4  # of consecutive regions of the largest scale, as near as whole regions allow
MOST = 7  # regions along the longer side at the largest scale


@BRANCHES.register()
class RMac(nn.Module):
    """Regional maximum activations of convolutions (Tolias et al., 2016).

    The maximum of every region of a grid at several scales is brought to length 1, and these
    vectors are summed. At scale l there are l regions along the shorter side and l + m - 1 along
    the longer, each 2 min(h, w) / (l + 1) wide (section 4.2 of the paper). The paper's PCA whitening
    is the enhancer `whiten`; `dim` is its trained form.

    Args:
        on: the map.
        levels: how many scales.
        dim: D of a linear layer behind; 0 leaves it out.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Tolias, Sicre and Jegou, Particular Object Retrieval with Integral Max-Pooling of CNN
        Activations, ICLR 2016 (arXiv 1511.05879)
    Example: r_mac(on='s4', levels=3)
    """

    def __init__(
        self, on: str = "s4", levels: int = 3, dim: int = 0, *, channels: Mapping[str, int]
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels must be 1 or more, got {levels}")
        self.on, self.levels = on, levels
        width = pick(channels, on, "map of the backbone")
        self.reduce = reduce_to(width, dim)
        self.dims = {"r_mac": dim or width}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"r_mac": [B, D]} of length 1 before the linear layer."""
        whole = at_least_float(maps[self.on])
        height, width = whole.shape[2:]
        total = whole.new_zeros(whole.shape[:2])
        for top, left, side in regions(height, width, self.levels):
            part = whole[:, :, top : top + side, left : left + side]
            total = total + F.normalize(part.amax(dim=(2, 3)), dim=1)
        return {"r_mac": self.reduce(F.normalize(total, dim=1))}


def regions(height: int, width: int, levels: int) -> Iterator[tuple[int, int, int]]:
    """Top, left and side of every square region of all scales."""
    short, long = min(height, width), max(height, width)
    extra = _regions_along(long, short) - 1
    for level in range(1, levels + 1):
        side = max(1, 2 * short // (level + 1))
        for near in _starts(short, side, level):
            for far in _starts(long, side, level + extra):
                yield (near, far, side) if height <= width else (far, near, side)


def _regions_along(long: int, side: int) -> int:
    """How many regions along the longer side overlap by about OVERLAP."""
    if long == side:
        return 1
    counts = range(2, MOST + 1)
    return min(counts, key=lambda count: abs(1 - (long - side) / (count - 1) / side - OVERLAP))


def _starts(length: int, side: int, count: int) -> list[int]:
    """Where `count` regions begin, spread evenly from end to end."""
    if count == 1:
        return [(length - side) // 2]
    return [number * (length - side) // (count - 1) for number in range(count)]
