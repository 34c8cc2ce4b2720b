"""Circle loss over a classifier."""

from __future__ import annotations

import torch

from ...registry import LOSSES
from ._margin_softmax import MarginSoftmax


@LOSSES.register()
class Circle(MarginSoftmax):
    """Cross-entropy in which every cosine goes as far as it still has to (Sun et al., Circle Loss,
    2020).

    The form for class labels. With margin m the own class counts s * [1 + m - cos]_+ * (cos - (1 -
    m)), another s * [cos + m]_+ * (cos - m); the brackets are weights and get no gradient. See
    `MarginSoftmax` for dropout, warm-up and precision.

    Args:
        on: name of the embedding.
        s: scale, usually 64.
        margin: m, or "dynamic(low, high)" by class size; usually 0.25.
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

    Source: Sun et al., Circle Loss: A Unified Perspective of Pair Similarity Optimization, CVPR
        2020 (arXiv 2002.10857)
    Example: circle(on='gem', s=64, margin=0.25)
    """

    defaults = {"s": 64.0, "margin": 0.25, "weight": 1.0, "dropout": 0.0}

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Every cosine times its own weight."""
        still, mine = cosine.detach(), own.detach()
        others = (still + margin).clamp(min=0) * (cosine - margin)
        return others, (1 + margin - mine).clamp(min=0) * (own - (1 - margin))
