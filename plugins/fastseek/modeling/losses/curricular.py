"""CurricularFace."""

from __future__ import annotations

import torch

from ...registry import LOSSES
from ..layers.gather import gather_tensor
from ..layers.margin import penalize
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
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
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
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The own class as in ArcFace, classes harder than it re-weighted."""
        still = own.detach()
        if is_training_step(self):
            # shared out, the rows of all processes are here already
            everyone = still if self.shard.shared else gather_tensor(still)
            self.t.lerp_(everyone.mean().to(self.t.dtype), 1 - MOMENTUM)
        border = still * margin.cos() - (1 - still.square()).clamp(min=1e-12).sqrt() * margin.sin()
        # A copy: the next forward changes t, and this backward still needs it.
        t = self.t.clone().to(cosine.dtype)
        return torch.where(cosine > border, cosine * (t + cosine), cosine), penalize(own, margin)
