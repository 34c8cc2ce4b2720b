"""ElasticFace: margins drawn anew for every row."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...registry import LOSSES
from ..layers.margin import penalize
from ._legal import check_not_negative
from ._margin_softmax import MarginSoftmax

KINDS = ("arc", "cos")


@LOSSES.register()
class ElasticFace(MarginSoftmax):
    """ArcFace or CosFace whose margin is drawn from N(margin, sigma) for every row of every step.

    In evaluation it is `margin` itself. The draws come from torch's generator of the embedding's
    device, whose state is saved with a checkpoint. See `MarginSoftmax` for precision.

    Args:
        on: name of the embedding.
        kind: "arc" adds the margin to the angle, "cos" lowers the cosine by it.
        s: scale of the cosines.
        margin: the mean, or "dynamic(low, high)" by class size; the paper has 0.5 for "arc" and 0.35
            for "cos".
        sigma: the deviation; the paper has 0.0125, and with `order` 0.0175 and 0.025.
        order: the largest of a batch's draws goes to the row farthest from its class (ElasticFace+).
        weight: factor of the loss.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding or kind, or an illegal value.

    Source: Boutros et al., ElasticFace: Elastic Margin Loss for Deep Face Recognition, CVPRW 2022
        (arXiv 2109.09416), section 3: ElasticFace-Arc, -Cos and the + form
    Example: elastic_face(on='gem', kind='arc', s=64, margin=0.5, sigma=0.0125)
    """

    defaults = {"s": 64.0, "margin": 0.5, "weight": 1.0, "dropout": 0.0}

    def __init__(
        self,
        on: str,
        kind: str = "arc",
        s: float = 64.0,
        margin: float | str = 0.5,
        sigma: float = 0.0125,
        order: bool = False,
        weight: float = 1.0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be 'arc' or 'cos', got {kind!r}")
        check_not_negative(sigma=sigma)
        super().__init__(on, s, margin, weight, shard=shard, dims=dims, counts=counts)
        self.kind = kind
        self.sigma = sigma
        self.order = order

    def row_facts(self, embedding: torch.Tensor) -> torch.Tensor:
        """A draw of N(0, 1) for every row, [B, 1]; zeros in evaluation."""
        if not self.training:
            return embedding.new_zeros(len(embedding), 1)
        return torch.randn(len(embedding), 1, dtype=embedding.dtype, device=embedding.device)

    def row_margins(
        self, facts: torch.Tensor | None, own: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """The margins [B, 1] of this step."""
        assert facts is not None
        drawn = super().row_margins(facts, own, targets) + self.sigma * facts
        if not self.order:
            return drawn
        nearest_first = own.argsort(dim=0, descending=True)
        return torch.zeros_like(drawn).scatter(0, nearest_first, drawn.sort(dim=0).values)

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As in ArcFace or in CosFace."""
        return cosine, penalize(own, margin) if self.kind == "arc" else own - margin
