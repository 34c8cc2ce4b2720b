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
from ..layers.class_shard import (
    ClassShard,
    cross_entropy,
    nearest_class,
    own_columns,
    own_scores,
)
from ..layers.margin import margins
from ..layers.precision import at_least_float, full_precision

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
        shard: share the classes out over the processes of the run, see `ClassShard`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding or preset, or an illegal margin, s, dropout, smoothing or
            warm; or shard with fewer classes than processes.
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
        shard: bool = False,
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
        self.shard = ClassShard(len(counts), 1, shard)
        self.weight = self.shard.centers(pick(dims, on, "embedding of the branches"))
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
            block = self.shard.block
            unit, facts, targets = self._gather(embedding, targets)
            cosine = self._cosine(unit)
            best, place = cosine.detach().max(dim=1)
            nearest = nearest_class(best, place + block.first, block)
            self.accuracy = (nearest == targets).float().mean()
            mine = own_scores(cosine, targets, block)
            margin = self.row_margins(facts, mine.detach(), targets)
            others, own = self.apply_margin(cosine, mine, margin)
            column, here = own_columns(cosine, targets, block)
            if block.shared:
                own = torch.where(here, own, others.gather(1, column))
            logits = self.s * others.scatter(1, column, own)
            return self.factor * self.cost(logits, targets, facts)

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> float32 [B, C] without margin, whose softmax is the probability of every
        class.

        Raises:
            UsageError: the classes are shared out over several processes.
        """
        self.shard.check_whole()
        with full_precision(embedding):
            return self.s * self.cosine(embedding)

    def cosine(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> [B, classes here] in [-1, 1], of what dropout leaves."""
        return self._cosine(self._unit(embedding))

    def row_facts(self, embedding: torch.Tensor) -> torch.Tensor | None:
        """What the margin of a row depends on beside its class: [B, n] of [B, D], or None.

        With `shard` it goes to all processes together with the embedding of length 1.
        """
        return None

    def row_margins(
        self, facts: torch.Tensor | None, own: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """What `apply_margin` gets of every row, here the margin of its class as it is now.

        Args:
            facts: [B, n], what `row_facts` found.
            own: [B, 1], the cosine of the own class, without gradient.
            targets: int64 [B].

        Returns:
            [B, 1], or as many columns as the child's `apply_margin` takes.
        """
        return (self.margin_share * self.margins).to(own.dtype)[targets].unsqueeze(1)

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What counts in place of the cosines, to be scaled.

        Args:
            cosine: [B, C].
            own: [B, 1], the cosine of the own class.
            margin: [B, 1], that of the row now.

        Returns:
            [B, C] as if every class were another one, and [B, 1] for the own class. The first takes
            no gradient to `own`: with `shard` its class may be in another process.
        """
        raise NotImplementedError

    def cost(
        self, logits: torch.Tensor, targets: torch.Tensor, facts: torch.Tensor | None
    ) -> torch.Tensor:
        """The loss of the logits [B, classes here], a scalar, equal in every process."""
        return cross_entropy(logits, targets, self.shard.block, self.smoothing)

    def _gather(
        self, embedding: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        unit, facts = self._unit(embedding), self.row_facts(at_least_float(embedding))
        if facts is None:
            rows, targets = self.shard.gather(unit, targets)
            return rows, None, targets
        rows, targets = self.shard.gather(torch.cat([unit, facts], dim=1), targets)
        return rows[:, : unit.shape[1]], rows[:, unit.shape[1] :], targets

    def _unit(self, embedding: torch.Tensor) -> torch.Tensor:
        return F.dropout(F.normalize(at_least_float(embedding)), self.dropout, self.training)

    def _cosine(self, unit: torch.Tensor) -> torch.Tensor:
        return F.linear(unit, F.normalize(self.weight.to(unit.dtype))).clamp(-1, 1)
