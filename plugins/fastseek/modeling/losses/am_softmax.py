"""AM-Softmax, also called CosFace."""

from __future__ import annotations

import torch

from ...registry import LOSSES
from ._margin_softmax import MarginSoftmax


@LOSSES.register()
class AmSoftmax(MarginSoftmax):
    """Cross-entropy over s * cosine, the cosine of the own class lowered by a margin.

    Wang et al., Additive Margin Softmax for Face Verification, and CosFace, 2018. See
    `MarginSoftmax` for dropout, warm-up and precision.

    Args:
        on: name of the embedding.
        s: scale of the cosines, usually 30.
        margin: of the cosine, or "dynamic(low, high)" by class size; usually 0.35.
        weight: factor of the loss, usually 1.
        dropout: on the embedding of length 1, usually 0.
        smoothing: label smoothing of the cross-entropy.
        warm: steps over which the margin grows from 0.
        preset: "paper" or "repo", as for `arcface`.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding or preset, or an illegal value.

    Source: Wang et al., Additive Margin Softmax for Face Verification, 2018 (arXiv 1801.05599);
        Wang et al., CosFace, CVPR 2018 (arXiv 1801.09414)
    Example: am_softmax(on='gem', s=30, margin=0.35)
    """

    defaults = {"s": 30.0, "margin": 0.35, "weight": 1.0, "dropout": 0.0}

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The cosine of the own class is lowered by its margin."""
        return cosine, own - margin
