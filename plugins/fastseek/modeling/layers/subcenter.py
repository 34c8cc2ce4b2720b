"""Cosine classifier with several centers a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .precision import at_least_float, full_precision


def subcenter_cosine(embedding: torch.Tensor, weight: torch.Tensor, k: int) -> torch.Tensor:
    """Cosine between every embedding and the nearest of the k centers of every class, in float32.

    Deng et al., Sub-center ArcFace, 2020.

    Args:
        embedding: [B, D].
        weight: [C * k, D], the k centers of a class one after the other.
        k: centers a class.

    Returns:
        float32 [B, C]; rounding may leave it a little outside [-1, 1].
    """
    with full_precision(embedding):
        embedding, weight = at_least_float(embedding), at_least_float(weight)
        cosine = F.linear(F.normalize(embedding), F.normalize(weight))
        return cosine.unflatten(1, (-1, k)).max(dim=2).values if k > 1 else cosine


def centers(classes: int, k: int, dim: int) -> nn.Parameter:
    """[classes * k, dim], uniform in +-1/sqrt(dim).

    Raises:
        ValueError: k is not a positive whole number.
    """
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be a positive whole number, got {k!r}")
    bound = dim**-0.5
    return nn.Parameter(torch.empty(classes * k, dim).uniform_(-bound, bound))
