"""Batch-hard triplet loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES, pick
from ..layers.gather import gather_rows, gather_with_gradient
from ..layers.precision import at_least_float, full_precision
from ._hard_pairs import check_margin, hardest_pairs, triplet_cost


@LOSSES.register()
class Triplet(nn.Module):
    """For every anchor, the farthest of its own class must be nearer than the nearest of the
    others, by a margin.

    Euclidean distances; the mean runs over all anchors, also those that cost nothing. Classes need
    not have equally many rows; an anchor whose batch holds no other class costs nothing. The rows of
    all processes are one batch. Only the pairs that count are differentiated, and their distance is
    taken from the difference itself, so that near pairs keep their precision. Hermans et al., In Defense of the Triplet Loss for Person
    Re-Identification, 2017.

    Args:
        on: name of the embedding.
        margin: of the hinge; None takes softplus(d_p - d_n) instead.
        normalize: whether the embeddings are brought to length 1 first.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, or a negative margin.

    Source: Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017 (arXiv
        1703.07737)
    Example: triplet(on='gem', margin=0.3)
    """

    def __init__(
        self,
        on: str,
        margin: float | None = 0.3,
        normalize: bool = False,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__()
        pick(dims, on, "embedding of the branches")
        self.on = on
        self.margin = check_margin(margin)
        self.normalize = normalize
        self.factor = weight

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar."""
        with full_precision(embedding):
            vectors = at_least_float(embedding)
            if self.normalize:
                vectors = F.normalize(vectors)
            everyone = gather_with_gradient(vectors)
            still, labels = gather_rows(vectors, targets)
            positive, negative, usable = hardest_pairs(vectors.detach(), targets, still, labels)
            cost = triplet_cost(vectors, everyone[positive], everyone[negative], self.margin)
            return self.factor * (cost * usable).mean()
