"""ArcFace."""

from __future__ import annotations

import torch

from ...registry import LOSSES
from ..layers.margin import penalize
from ._margin_softmax import MarginSoftmax


@LOSSES.register()
class Arcface(MarginSoftmax):
    """Cross-entropy over s * cosine, the own class handicapped by an angle (Deng et al., ArcFace,
    2019).

    One center a class; `subcenter_arcface` has several. See `MarginSoftmax` for dropout, warm-up
    and precision.

    Args:
        on: name of the embedding.
        s: scale of the cosines, usually 30.
        margin: radians, or "dynamic(low, high)" by class size; usually 0.35.
        weight: factor of the loss, usually 1.
        dropout: on the embedding of length 1, usually 0.
        smoothing: label smoothing of the cross-entropy.
        warm: steps over which the margin grows from 0.
        preset: "paper" (s 30, margin 0.35, weight 0.25) or "repo" (s 35, margin 0.30, weight 1,
            dropout 0.2) of the DIGIX 2020 second place for what is not given. What their repository
            calls ArcFace is `curricular`.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding or preset, or an illegal value.

    Source: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019
        (arXiv 1801.07698)
    Example: arcface(on='gem', s=30, margin=0.35)
    """

    defaults = {"s": 30.0, "margin": 0.35, "weight": 1.0, "dropout": 0.0}

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The cosine of the own class becomes that of the angle plus the margin."""
        return cosine, penalize(own, margin)
