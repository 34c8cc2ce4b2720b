"""Every row of a batch against every other one, over all processes: what pair losses share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import pick
from ..layers.gather import (
    count_processes,
    first_own_row,
    gather_tensor,
    gather_with_gradient,
    sum_over_processes,
)
from ..layers.precision import at_least_float, full_precision


class Pairs(NamedTuple):
    """The rows of this process, the anchors, against those of all processes.

    Args:
        anchors: [B, D].
        rows: [M, D], with gradient.
        same: bool [B, M], of the anchor's class and not the anchor itself.
        other: bool [B, M], of another class.
    """

    anchors: torch.Tensor
    rows: torch.Tensor
    same: torch.Tensor
    other: torch.Tensor

    @property
    def similarity(self) -> torch.Tensor:
        """[B, M], the products of anchors and rows: cosines where these have length 1."""
        return F.linear(self.anchors, self.rows)

    @property
    def distance(self) -> torch.Tensor:
        """[B, M], Euclidean, from the differences themselves; a row and itself give no gradient."""
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(self.anchors, self.rows, compute_mode=exact)


def pair_rows(vectors: torch.Tensor, targets: torch.Tensor) -> Pairs:
    """The pairs of a batch [B, D] with classes int64 [B]."""
    rows, labels = gather_with_gradient(vectors), gather_tensor(targets)
    same = targets.unsqueeze(1) == labels.unsqueeze(0)
    place = torch.arange(len(targets), device=targets.device)
    itself = place.unsqueeze(1) + first_own_row(len(targets)) == torch.arange(
        len(labels), device=targets.device
    )
    return Pairs(vectors, rows, same & ~itself, ~same)


def log_sum_exp(logits: torch.Tensor, mask: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """log of the summed exponentials of the entries in the mask; hugely negative where none is.

    Not -inf, whose gradient is NaN; softplus makes an exact 0 of it.
    """
    nothing = torch.finfo(logits.dtype).min / 4
    return logits.masked_fill(~mask, nothing).logsumexp(dim=dim)


def log_one_plus_exp(exponent: torch.Tensor) -> torch.Tensor:
    """log(1 + e^x), to the last digit in float64 too: softplus alone drops the 1 from x = 20 on."""
    return F.softplus(exponent, threshold=50)


def mean_over_all(cost: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
    """The mean of the usable entries of all processes, 0 without any.

    Processes average their gradients, so each returns its own sum times their number.

    Args:
        cost: any shape, finite.
        usable: bool, the same shape.
    """
    number = sum_over_processes(usable.sum().to(cost.dtype)).clamp(min=1)
    return torch.where(usable, cost, 0).sum() * (count_processes() / number)


class PairLoss(nn.Module):
    """A loss of the pairs of a batch, those of all processes, in float32 whatever the precision
    around it; a child says in `cost` what they cost.

    Args:
        on: name of the embedding.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding.
    """

    def __init__(self, on: str, weight: float, dims: Mapping[str, int]) -> None:
        super().__init__()
        pick(dims, on, "embedding of the branches")
        self.on = on
        self.factor = weight

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar."""
        with full_precision(embedding):
            vectors = self.prepare(at_least_float(embedding))
            return self.factor * self.cost(pair_rows(vectors, targets))

    def prepare(self, vectors: torch.Tensor) -> torch.Tensor:
        """The vectors [B, D] as they are compared, here of length 1."""
        return F.normalize(vectors)

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar whose mean over the processes is the loss."""
        raise NotImplementedError
