"""Non-local block."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BLOCKS
from ..layers.precision import at_least_float, full_precision
from ._insertion import append, channels


@BLOCKS.register()
class NonLocal:
    """x + W(softmax(theta(x)^T phi(x)) g(x)) over all positions (Wang et al., Non-local Neural
    Networks, 2018).

    Embedded Gaussian with C/2 channels inside; g and phi are max-pooled 2x2. W is a 1x1 convolution
    and BatchNorm whose weight starts at 0: a fresh block changes nothing. The softmax works in
    float32.

    Args:
        at: the stage behind which it stands.

    Source: Wang et al., Non-local Neural Networks, CVPR 2018 (arXiv 1711.07971)
    Example: non_local(at='s3')
    """

    def __init__(self, at: str = "s3") -> None:
        self.at = at

    def __call__(self, backbone: Any) -> Any:
        """The same backbone, with the block in it.

        Raises:
            ValueError: the backbone has no such stage.
        """
        append(backbone, self.at, "non_local", EmbeddedGaussian(channels(backbone, self.at)))
        return backbone


class EmbeddedGaussian(nn.Module):
    """The block itself, for maps of at least 2 x 2 positions.

    Args:
        width: C.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.theta, self.phi, self.g = (nn.Conv2d(width, inner, 1) for _ in range(3))
        self.out, self.norm = nn.Conv2d(inner, width, 1), nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        queries = self.theta(maps).flatten(2)
        keys, values = (F.max_pool2d(embed(maps), 2).flatten(2) for embed in (self.phi, self.g))
        with full_precision(maps):
            weights = (at_least_float(queries).transpose(1, 2) @ at_least_float(keys)).softmax(
                dim=2
            )
            seen = (weights @ at_least_float(values).transpose(1, 2)).transpose(1, 2)
        seen = seen.to(queries.dtype).reshape(len(maps), -1, *maps.shape[2:])
        return maps + self.norm(self.out(seen))
