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
        self, cosine: torch.Tensor, targets: torch.Tensor, margin: torch.Tensor
    ) -> torch.Tensor:
        """Every cosine times its own weight."""
        column = targets.unsqueeze(1)
        m = margin.to(cosine.dtype)[column]  # the margin of the row's own class
        still = cosine.detach()
        others = (still + m).clamp(min=0) * (cosine - m)
        own = (1 + m - still).clamp(min=0) * (cosine - (1 - m))
        return others.scatter(1, column, own.gather(1, column))
