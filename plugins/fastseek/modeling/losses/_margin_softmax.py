"""What the cosine classifiers with a margin share: scale, margin and its warm-up, dropout,
presets.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import pick
from ..layers.margin import margins
from ..layers.precision import at_least_float, full_precision
from ..layers.subcenter import centers

# DIGIX 2020, second place: what the authors wrote, and what their configuration files say.
PRESETS = {
    "paper": {"s": 30.0, "margin": 0.35, "weight": 0.25, "dropout": 0.0},
    "repo": {"s": 35.0, "margin": 0.30, "weight": 1.0, "dropout": 0.2},
}


class MarginSoftmax(nn.Module):
    """Cross-entropy over s * cosine to one center a class; a child says in `apply_margin` what the
    margin does.

    It also says in `defaults` what is taken for None without a preset, and in `statistics` which
    numbers, 0 at first, it keeps between steps and in checkpoints.

    Works in float32 whatever the precision around it. The dropout stands where the DIGIX winners
    had it: on the embedding of length 1, before the cosine, which is then clamped to [-1, 1].

    Args:
        on: name of the embedding.
        s: scale of the cosines.
        margin: a number, or "dynamic(low, high)" by class size, see `layers.margin.margins`.
        weight: factor of the loss.
        dropout: share of the embedding's values set to 0 in training.
        smoothing: label smoothing of the cross-entropy.
        warm: steps over which the margin grows from 0 to its value, linearly; 0 has it from the
            start.
        preset: "paper" or "repo" (see `PRESETS`), or ""; fills in what is None.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding or preset, or an illegal margin, s, dropout, smoothing or
            warm.
    """

    defaults: Mapping[str, float]
    statistics: Sequence[str] = ()
    margins: torch.Tensor

    def __init__(
        self,
        on: str,
        s: float | None = None,
        margin: float | str | None = None,
        weight: float | None = None,
        dropout: float | None = None,
        smoothing: float = 0.0,
        warm: int = 0,
        preset: str = "",
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__()
        if preset == "seed":
            message = "preset='seed' is called 'paper'; the old name goes with version 0.2"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            preset = "paper"
        if preset and preset not in PRESETS:
            raise ValueError(f"preset must be '' or one of {', '.join(PRESETS)}, got {preset!r}")
        usual = {**self.defaults, **PRESETS.get(preset, {})}
        self.on = on
        self.s = usual["s"] if s is None else s
        self.factor = usual["weight"] if weight is None else weight
        self.dropout = usual["dropout"] if dropout is None else dropout
        self.smoothing = smoothing
        self.warm = warm
        self.margin_share = 0.0 if warm else 1.0
        if not self.s > 0 or warm < 0:
            raise ValueError(f"s must be positive and warm not negative, got {self.s} and {warm}")
        if not 0 <= self.dropout < 1 or not 0 <= smoothing <= 1:
            raise ValueError(
                f"dropout must be in [0, 1) and smoothing in [0, 1], got {self.dropout},"
                f" {smoothing}"
            )
        self.weight = centers(len(counts), 1, pick(dims, on, "embedding of the branches"))
        table = margins(usual["margin"] if margin is None else margin, counts)
        self.register_buffer("margins", table, persistent=False)
        for name in self.statistics:
            self.register_buffer(name, torch.zeros(()))
        self.accuracy: torch.Tensor | None = None

    @property
    def needs_steps(self) -> bool:
        """Whether the margin grows."""
        return self.warm > 0

    def at_step(self, step: int) -> None:
        """Let the margin be what it is in training step `step` (from 0)."""
        self.margin_share = min(1.0, step / self.warm) if self.warm else 1.0

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar; keeps the share of rows whose nearest class is their own
        in `accuracy`.
        """
        with full_precision(embedding):
            cosine = self.cosine(embedding)
            self.accuracy = (cosine.detach().argmax(dim=1) == targets).float().mean()
            logits = self.s * self.apply_margin(cosine, targets, self.margin_share * self.margins)
            return self.factor * F.cross_entropy(logits, targets, label_smoothing=self.smoothing)

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> float32 [B, C] without margin, whose softmax is the probability of every
        class.
        """
        with full_precision(embedding):
            return self.s * self.cosine(embedding)

    def cosine(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> [B, C] in [-1, 1], of what dropout leaves."""
        unit = F.dropout(F.normalize(at_least_float(embedding)), self.dropout, self.training)
        return F.linear(unit, F.normalize(self.weight.to(unit.dtype))).clamp(-1, 1)

    def apply_margin(
        self, cosine: torch.Tensor, targets: torch.Tensor, margin: torch.Tensor
    ) -> torch.Tensor:
        """Cosines [B, C], int64 [B] and the margins [C] of now -> [B, C], to be scaled."""
        raise NotImplementedError
