"""Generalized-mean pooling."""

from __future__ import annotations

import torch
from torch import nn

from .precision import at_least_float, full_precision


class Gem(nn.Module):
    """Generalized mean over all positions, (mean of x^p)^(1/p): p = 1 is the mean, p to infinity
    the maximum.

    Works in float32 whatever the precision around it. The largest value of a map is divided out
    first and multiplied back: x^p then neither over- nor underflows, and neither value nor gradient
    changes. Radenovic et al., Fine-tuning CNN Image Retrieval with No Human Annotation, 2018.

    Args:
        p: the exponent, or where it starts when it is trained.
        trainable: whether p is a parameter.
        eps: values below it are raised to it.

    Raises:
        ValueError: p is not positive.
    """

    def __init__(self, p: float = 3.0, trainable: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        if not p > 0:
            raise ValueError(f"p must be positive, got {p}")
        self.eps = eps
        value = torch.full((1,), float(p))
        if trainable:
            self.p = nn.Parameter(value)
        else:
            self.register_buffer("p", value, persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool [B, C, h, w] to [B, C]."""
        with full_precision(maps):
            values = at_least_float(maps).clamp(min=self.eps).flatten(2)
            top = values.detach().amax(dim=2, keepdim=True)
            mean = (values / top).pow(self.p).mean(dim=2)
            return top.squeeze(2) * mean.pow(1 / self.p)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"p={'trained' if isinstance(self.p, nn.Parameter) else float(self.p)}"


def pool(kind: str, p: float = 3.0) -> nn.Module:
    """A pooling of [B, C, h, w] to [B, C]: "avg" or "gem" (p is trained).

    Raises:
        ValueError: another kind.
    """
    if kind == "avg":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if kind == "gem":
        return Gem(p)
    raise ValueError(f"pool must be 'avg' or 'gem', got {kind!r}")
