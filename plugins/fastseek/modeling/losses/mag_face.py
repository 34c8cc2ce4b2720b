"""MagFace: the margin grows with the length of the embedding, and the length has a price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ...registry import LOSSES
from ..layers.class_shard import own_columns
from ..layers.margin import penalize
from ._legal import check_not_negative, check_positive
from ._margin_softmax import MarginSoftmax


@LOSSES.register()
class MagFace(MarginSoftmax):
    """ArcFace whose margin m(a) grows with the length a of the embedding, and g(a) = 1/a + a/high^2,
    which draws a to the upper length: afterwards the length tells how good an image is.

    a is clamped to `lengths`, low to high; m(a) goes linearly from the first of `margins` to the
    second; the gradient goes through a. The lengths must be those the network gives: a BatchNorm of
    D numbers gives about sqrt(D). See `MarginSoftmax` for precision.

    Args:
        on: name of the embedding.
        s: scale of the cosines.
        lengths: low and high, between which the length counts.
        margins: the margins there, in radians.
        price: lambda_g, factor of g.
        weight: factor of the loss.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or an illegal value.

    Source: Meng et al., MagFace: A Universal Representation for Face Recognition and Quality
        Assessment, CVPR 2021 (arXiv 2103.06627), section 3: the loss, with m and g of section 4
    Example: mag_face(on='gem', s=64, lengths=(10, 110), margins=(0.45, 0.8), price=35)
    """

    defaults = {"s": 64.0, "margin": 0.0, "weight": 1.0, "dropout": 0.0}

    def __init__(
        self,
        on: str,
        s: float = 64.0,
        lengths: Sequence[float] = (10.0, 110.0),
        margins: Sequence[float] = (0.45, 0.8),
        price: float = 35.0,
        weight: float = 1.0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__(on, s, weight=weight, shard=shard, dims=dims, counts=counts)
        self.low, self.high = _rising("lengths", lengths)
        self.low_margin, self.high_margin = _rising("margins", margins)
        check_positive(low_length=self.low)
        check_not_negative(price=price, margin=self.low_margin)
        if self.high_margin >= torch.pi / 2:
            raise ValueError(f"margins are angles below pi/2 radians, got {margins}")
        self.price = price

    def row_facts(self, embedding: torch.Tensor) -> torch.Tensor:
        """The lengths [B, 1] as they count."""
        length = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        return length.clamp(self.low, self.high)

    def row_margins(
        self, facts: torch.Tensor | None, own: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """m(a), [B, 1]."""
        assert facts is not None
        slope = (self.high_margin - self.low_margin) / (self.high - self.low)
        return self.low_margin + slope * (facts - self.low)

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As in ArcFace."""
        return cosine, penalize(own, margin)

    def cost(
        self, logits: torch.Tensor, targets: torch.Tensor, facts: torch.Tensor | None
    ) -> torch.Tensor:
        """Cross-entropy and the price of the lengths."""
        assert facts is not None
        price = 1 / facts + facts / self.high**2
        # Shared out, all processes have all rows: the one with a row's class moves its length.
        here = own_columns(logits, targets, self.shard.block)[1]
        price = torch.where(here, price, price.detach())
        return super().cost(logits, targets, facts) + self.price * price.mean()


def _rising(name: str, pair: Sequence[float]) -> tuple[float, float]:
    """Two numbers, the first below the second."""
    if len(pair) != 2 or not pair[0] < pair[1]:
        raise ValueError(f"{name} must be two rising numbers, got {pair}")
    return pair[0], pair[1]
