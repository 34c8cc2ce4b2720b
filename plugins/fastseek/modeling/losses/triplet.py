"""Batch-hard triplet loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES
from ..layers.precision import at_least_float, full_precision
from .source import of_embedding


@LOSSES.register()
class Triplet(nn.Module):
    """For every anchor, the farthest of its own class must be nearer than the nearest of the others, by a margin.

    Euclidean distances; the mean runs over all anchors, also those that cost nothing. Classes need not have equally
    many rows; an anchor whose batch holds no other class costs nothing. Only the pairs that count are differentiated,
    and their distance is taken from the difference itself, so that near pairs keep their precision.
    Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017.

    Args:
        on: name of the embedding.
        margin: of the hinge; None takes softplus(d_p - d_n) instead.
        normalize: whether the embeddings are brought to length 1 first.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, or a negative margin.
    """

    def __init__(self, on: str, margin: float | None = 0.3, normalize: bool = False, weight: float = 1.0, *,
                 dims: Mapping[str, int]) -> None:
        super().__init__()
        of_embedding(dims, on)
        if margin is not None and margin < 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        self.on, self.margin, self.normalize, self.factor = on, margin, normalize, weight

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar."""
        with full_precision(embedding):
            vectors = at_least_float(embedding)
            if self.normalize:
                vectors = F.normalize(vectors)
            positive, negative, usable = hardest(vectors.detach(), targets)
            gap = _distance(vectors, vectors[positive]) - _distance(vectors, vectors[negative])
            cost = F.softplus(gap) if self.margin is None else F.relu(gap + self.margin)
            return self.factor * (cost * usable).mean()


def hardest(vectors: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The row of the farthest of the same class (the anchor itself included) and of the nearest of another class.

    Args:
        vectors: [B, D] without gradient.
        targets: int64 [B].

    Returns:
        int64 [B], int64 [B], and bool [B]: whether there is another class at all.
    """
    distance = torch.cdist(vectors, vectors)
    same = targets.unsqueeze(0) == targets.unsqueeze(1)
    farthest = distance.masked_fill(~same, -1).argmax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).argmin(dim=1)
    return farthest, nearest, ~same.all(dim=1)


def _distance(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left - right).square().sum(dim=1).clamp(min=1e-12).sqrt()
