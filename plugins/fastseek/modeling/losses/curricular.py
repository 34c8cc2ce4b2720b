"""CurricularFace."""

from __future__ import annotations

import torch

from ...registry import LOSSES
from ..layers.gather import gather_rows
from ..layers.margin import add_margin
from ._margin_softmax import PRESETS, MarginSoftmax
from ._memory import is_training_step

MOMENTUM = 0.99


@LOSSES.register()
class Curricular(MarginSoftmax):
    """ArcFace that weighs hard classes the more the better the model is (Huang et al.,
    CurricularFace, 2020).

    t, the moving average of the cosines to the own class, starts at 0 and takes in 1 % of every
    training step before it is used; an evaluation leaves it as it is. A class j whose cosine is
    above cos(theta_y + m) counts as cos_j * (t + cos_j). All processes hold the same t. See
    `MarginSoftmax` for dropout, warm-up and precision.

    Args:
        on: name of the embedding.
        s: scale of the cosines, usually 35.
        margin: radians, or "dynamic(low, high)" by class size; usually 0.30.
        weight: factor of the loss, usually 1.
        dropout: on the embedding of length 1, usually 0.2.
        smoothing: label smoothing of the cross-entropy.
        warm: steps over which the margin grows from 0.
        preset: "paper" or "repo", as for `arcface`; "repo" is what is usual here.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding or preset, or an illegal value.

    Source: Huang et al., CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
        Recognition, CVPR 2020 (arXiv 2004.00288)
    Example: curricular(on='gem', s=35, margin=0.3)
    """

    defaults = PRESETS["repo"]
    statistics = ("t",)
    t: torch.Tensor

    def apply_margin(
        self, cosine: torch.Tensor, targets: torch.Tensor, margin: torch.Tensor
    ) -> torch.Tensor:
        """The own class as in ArcFace, classes harder than it re-weighted."""
        column = targets.unsqueeze(1)
        own = cosine.gather(1, column)
        if is_training_step(self):
            everyone, _ = gather_rows(own, targets)
            self.t.lerp_(everyone.mean().to(self.t.dtype), 1 - MOMENTUM)
        angle = margin.to(own.dtype)[column]
        border = own * angle.cos() - (1 - own.square()).clamp(min=1e-12).sqrt() * angle.sin()
        # A copy: the next forward changes t, and this backward still needs it.
        hard = torch.where(
            cosine > border.detach(), cosine * (self.t.clone().to(cosine.dtype) + cosine), cosine
        )
        return hard.scatter(1, column, add_margin(cosine, targets, margin).gather(1, column))
