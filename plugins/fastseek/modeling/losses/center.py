"""Center loss: every embedding is drawn to the center of its class."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import LOSSES, pick
from ..layers.gather import gather_rows
from ..layers.precision import at_least_float, full_precision
from ._memory import class_sums, is_training_step

RULES = ("repo", "paper", "wen")


@LOSSES.register()
class Center(nn.Module):
    """Squared distance of every embedding to the center of its class; the centers follow in closed
    form.

    Three rules are in use, and they differ. With d = c_j - x_i over the rows i of class j in a
    batch of B rows:

    - "repo" (reid-strong-baseline): the mean of |d|^2; c_j falls by lr * 2/B * sum d. This is what
      an SGD optimizer of their own does to the centers when their gradient is multiplied by
      1/weight, so that `weight` moves features only.
    - "paper" (Luo et al., Bag of Tricks, 2019): half the sum of |d|^2; c_j falls by lr * sum d.
    - "wen" (Wen et al., A Discriminative Feature Learning Approach, 2016): half the sum; c_j falls
      by alpha * sum d / (1 + n_j), n_j rows of the class in the batch.

    Every training forward moves the centers once, after the loss was taken with the centers as they
    were. All processes count as one batch and hold equal centers.

    Args:
        on: name of the embedding.
        weight: factor of the loss.
        lr: step of the centers under "repo" and "paper".
        rule: "repo", "paper" or "wen".
        alpha: step of the centers under "wen".
        seed: of the first centers, which are drawn from N(0, 1).
        dims: embedding name -> D.
        counts: int64 [C].

    Raises:
        ValueError: unknown embedding or rule, or a negative step.

    Source: Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV
        2016
    Example: center(on='gem', weight=0.0005)
    """

    centers: torch.Tensor

    def __init__(
        self,
        on: str,
        weight: float = 0.0005,
        lr: float = 0.5,
        rule: str = "repo",
        alpha: float = 0.5,
        seed: int = 0,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__()
        if rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
        if lr < 0 or alpha < 0:
            raise ValueError(f"lr and alpha must not be negative, got {lr} and {alpha}")
        self.on = on
        self.factor = weight
        self.lr = lr
        self.rule = rule
        self.alpha = alpha
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer(
            "centers",
            torch.randn(
                len(counts), pick(dims, on, "embedding of the branches"), generator=generator
            ),
        )

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar; in training moves the centers."""
        with full_precision(embedding):
            vectors = at_least_float(embedding)
            distance = (vectors - self.centers[targets]).square().sum(dim=1)
            rows, labels = gather_rows(vectors, targets)
            # Processes average their gradients: a sum over all rows is the mean over processes of
            # this.
            share = 1 / len(targets) if self.rule == "repo" else 0.5 * len(labels) / len(targets)
            if is_training_step(self):
                self._follow(rows, labels)
            return self.factor * share * distance.sum()

    @torch.no_grad()
    def _follow(self, rows: torch.Tensor, labels: torch.Tensor) -> None:
        old = self.centers[labels]
        pull, number = class_sums(old - rows.to(old.dtype), labels)
        share: float | torch.Tensor = self.lr
        if self.rule == "repo":
            share = self.lr * 2 / len(labels)
        elif self.rule == "wen":
            share = self.alpha / (1 + number)
        self.centers[labels] = old - share * pull
