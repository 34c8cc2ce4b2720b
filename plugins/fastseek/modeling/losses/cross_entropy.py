"""Cross-entropy over a linear classifier."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES, pick
from ..layers.precision import at_least_float, full_precision


@LOSSES.register()
class CrossEntropy(nn.Module):
    """Cross-entropy with label smoothing over a linear classifier of its own (the ID loss of the
    ReID strong baseline).

    The target of the own class is 1 - (C - 1)/C * smoothing, of any other smoothing/C. Works in
    float32.

    Args:
        on: name of the embedding.
        smoothing: epsilon of the label smoothing.
        bias: whether the classifier has one; behind a BNNeck it has none.
        weight: factor of the loss.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or smoothing outside [0, 1].

    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016
        (arXiv 1512.00567), for the smoothing
    Example: cross_entropy(on='gem', smoothing=0.1)
    """

    def __init__(
        self,
        on: str,
        smoothing: float = 0.1,
        bias: bool = False,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__()
        if not 0 <= smoothing <= 1:
            raise ValueError(f"smoothing must be in [0, 1], got {smoothing}")
        self.on = on
        self.smoothing = smoothing
        self.factor = weight
        self.classifier = nn.Linear(
            pick(dims, on, "embedding of the branches"), len(counts), bias=bias
        )
        nn.init.normal_(self.classifier.weight, std=0.001)
        if bias:
            nn.init.zeros_(self.classifier.bias)
        self.accuracy: torch.Tensor | None = None

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> float32 [B, C], whose softmax is the probability of every class."""
        with full_precision(embedding):
            return self.classifier(at_least_float(embedding))

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar; keeps the share of rows classified right in
        `accuracy`.
        """
        with full_precision(embedding):
            logits = self.classifier(at_least_float(embedding))
            self.accuracy = (logits.detach().argmax(dim=1) == targets).float().mean()
            return self.factor * F.cross_entropy(logits, targets, label_smoothing=self.smoothing)
