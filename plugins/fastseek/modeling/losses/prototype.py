"""Prototype loss: a softmax over the running means of the classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES, pick
from ..layers.gather import gather_rows
from ..layers.precision import at_least_float, full_precision
from ._memory import class_sums, is_training_step


@LOSSES.register()
class Prototype(nn.Module):
    """Cross-entropy over cosine to the prototypes of the classes / temperature, for few and
    unequally many images.

    The prototype of a class is the moving average of the mean of its embeddings of length 1: the
    first mean is taken as it is, each later one moves it by 1 - momentum. A training forward takes
    the loss with the prototypes as they were and then moves them, all processes together. A class
    not seen yet stands in no softmax, and its rows cost nothing; the mean runs over the other rows, those of all processes.
    Follows Snell et al., Prototypical Networks, 2017.

    Args:
        on: name of the embedding.
        temperature: what the cosines are divided by.
        momentum: how much of a prototype stays in a step.
        weight: factor of the loss.
        dims: embedding name -> D.
        counts: int64 [C].

    Raises:
        ValueError: unknown embedding, or an illegal temperature or momentum.

    Source: Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017 (arXiv
        1703.05175)
    Example: prototype(on='gem', temperature=0.1)
    """

    prototypes: torch.Tensor
    known: torch.Tensor

    def __init__(
        self,
        on: str,
        temperature: float = 0.1,
        momentum: float = 0.9,
        weight: float = 0.5,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__()
        if not temperature > 0 or not 0 <= momentum < 1:
            raise ValueError(
                f"temperature must be positive and momentum in [0, 1), got {temperature} and"
                f" {momentum}"
            )
        self.on = on
        self.temperature = temperature
        self.momentum = momentum
        self.factor = weight
        self.register_buffer(
            "prototypes", torch.zeros(len(counts), pick(dims, on, "embedding of the branches"))
        )
        self.register_buffer("known", torch.zeros(len(counts), dtype=torch.bool))

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar; in training moves the prototypes."""
        with full_precision(embedding):
            unit = F.normalize(at_least_float(embedding))
            usable = self.known[targets]
            logits = F.linear(unit, F.normalize(self.prototypes.to(unit.dtype))) / self.temperature
            # A row of an unknown class must not meet a softmax over nothing: its gradient would be
            # NaN, not 0.
            logits = logits.masked_fill(~self.known & usable[:, None], -torch.inf)
            cost = torch.where(usable, F.cross_entropy(logits, targets, reduction="none"), 0)
            rows, labels = gather_rows(unit, targets)
            # Processes average their gradients: their mean of this is the mean over all rows.
            usable_rows = self.known[labels].sum().clamp(min=1)
            share = len(labels) / len(targets)
            if is_training_step(self):
                self._follow(rows, labels)
            return self.factor * cost.sum() / usable_rows * share

    @torch.no_grad()
    def _follow(self, unit: torch.Tensor, labels: torch.Tensor) -> None:
        total, number = class_sums(unit.to(self.prototypes.dtype), labels)
        kept = torch.where(self.known[labels], self.momentum, 0.0)[:, None].to(total.dtype)
        self.prototypes[labels] = kept * self.prototypes[labels] + (1 - kept) * total / number
        self.known[labels] = True
