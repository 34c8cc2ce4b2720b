"""UniFace: one threshold for all classes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from ...registry import LOSSES
from ..layers.class_shard import add_shares, own_columns, use_in_shares
from ._legal import check_not_negative
from ._margin_softmax import MarginSoftmax
from ._pairs import log_one_plus_exp


@LOSSES.register()
class UniFace(MarginSoftmax):
    """Every class is a yes or no of its own, with one threshold b for all, which is trained.

    A row costs log(1 + exp(b - s (cos - margin))) of its own class, and balance times the sum of
    log(1 + exp(s cos - b)) over the others. So the cosine of any right pair lies above that of any
    wrong one, while a softmax only orders the classes of one row. b starts at log(10 C): before
    training the others together cost about 0.1. See `MarginSoftmax` for precision.

    Args:
        on: name of the embedding.
        s: scale of the cosines.
        margin: of the cosine, or "dynamic(low, high)" by class size.
        balance: lambda, what the other classes weigh.
        weight: factor of the loss.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or an illegal value.

    Source: Zhou et al., UniFace: Unified Cross-Entropy Loss for Deep Face Recognition, ICCV 2023,
        the unified cross-entropy with margin and balance, L_uce-mb-lambda
    Example: uni_face(on='gem', s=64, margin=0.4)
    """

    defaults = {"s": 64.0, "margin": 0.4, "weight": 1.0, "dropout": 0.0}

    def __init__(
        self,
        on: str,
        s: float = 64.0,
        margin: float | str = 0.4,
        balance: float = 1.0,
        weight: float = 1.0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__(on, s, margin, weight, shard=shard, dims=dims, counts=counts)
        check_not_negative(balance=balance)
        self.balance = balance
        self.threshold = nn.Parameter(torch.full((1,), math.log(10 * len(counts))))

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The cosine of the own class is lowered by its margin."""
        return cosine, own - margin

    def cost(
        self, logits: torch.Tensor, targets: torch.Tensor, facts: torch.Tensor | None
    ) -> torch.Tensor:
        """[B, classes here] -> scalar."""
        threshold = use_in_shares(self.threshold.to(logits.dtype), self.shard)
        column, here = own_columns(logits, targets, self.shard.block)
        yes = log_one_plus_exp(threshold - logits.gather(1, column))
        no = log_one_plus_exp(logits - threshold)
        mine = torch.zeros_like(no, dtype=torch.bool).scatter(1, column, here)
        others = no.masked_fill(mine, 0).sum(dim=1)
        own = torch.where(here, yes, 0).squeeze(1)
        return add_shares((own + self.balance * others).mean(), self.shard.block)
