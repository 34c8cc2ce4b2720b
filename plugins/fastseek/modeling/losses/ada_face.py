"""AdaFace: the margin follows the length of the embedding."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...registry import LOSSES
from ..layers.gather import gather_tensor
from ._legal import check_positive, check_share
from ._margin_softmax import MarginSoftmax
from ._memory import is_training_step


@LOSSES.register()
class AdaFace(MarginSoftmax):
    """ArcFace for long embeddings turned into CosFace for short ones: long stand for good images,
    whose hard ones count more, short for bad images, whose hard ones count less.

    The length z of an embedding is compared with running mean and deviation: q = (z - mean) /
    (deviation / h), clipped to [-1, 1], without gradient. The own class counts s * (cos(theta -
    margin q) - (margin q + margin)), with the angle kept in [0, pi]. Mean and deviation take in 1 -
    momentum of every training step before they are used, those of the first step wholly; they are
    buffers, those of the rows of all processes, and equal in every process. The embedding must not
    be of length 1 already, or nothing is to be learned from its length.

    Args:
        on: name of the embedding.
        s: scale of the cosines.
        margin: m, or "dynamic(low, high)" by class size.
        h: how many deviations make q = 1, as 1 / h.
        momentum: how much of mean and deviation stays in a step.
        weight: factor of the loss.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or an illegal value.

    Source: Kim et al., AdaFace: Quality Adaptive Margin for Face Recognition, CVPR 2022 (arXiv
        2204.00964), section 3.3: the image quality indicator, g_angle and g_add
    Example: ada_face(on='gem', s=64, margin=0.4, h=0.333)
    """

    defaults = {"s": 64.0, "margin": 0.4, "weight": 1.0, "dropout": 0.0}
    statistics = ("mean_length", "deviation", "steps")
    mean_length: torch.Tensor
    deviation: torch.Tensor
    steps: torch.Tensor

    def __init__(
        self,
        on: str,
        s: float = 64.0,
        margin: float | str = 0.4,
        h: float = 0.333,
        momentum: float = 0.99,
        weight: float = 1.0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        check_positive(h=h)
        check_share(momentum=momentum)
        super().__init__(on, s, margin, weight, shard=shard, dims=dims, counts=counts)
        self.h = h
        self.momentum = momentum

    def row_facts(self, embedding: torch.Tensor) -> torch.Tensor:
        """The lengths [B, 1], without gradient."""
        return torch.linalg.vector_norm(embedding.detach(), dim=1, keepdim=True)

    def row_margins(
        self, facts: torch.Tensor | None, own: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """g_angle and g_add of every row, [B, 2]; in training the statistics follow."""
        assert facts is not None
        if is_training_step(self):
            self._follow(facts if self.shard.shared else gather_tensor(facts))
        spread = (self.deviation.to(own.dtype) / self.h).clamp(min=1e-6)
        quality = ((facts - self.mean_length.to(own.dtype)) / spread).clamp(-1, 1)
        margin = super().row_margins(facts, own, targets)
        return torch.cat([-margin * quality, margin * quality + margin], dim=1)

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The angle of the own class grows by g_angle, its cosine falls by g_add."""
        angle, lowered = margin.split(1, dim=1)
        sine = (1 - own.square()).clamp(min=1e-12).sqrt()
        moved = own * angle.cos() - sine * angle.sin()
        # Beyond 0 and pi the cosine would turn round.
        moved = torch.where((angle < 0) & (own > angle.cos()), 1, moved)
        moved = torch.where((angle > 0) & (own < -angle.cos()), -1, moved)
        return cosine, moved - lowered

    @torch.no_grad()
    def _follow(self, lengths: torch.Tensor) -> None:
        later = torch.full_like(self.steps, 1 - self.momentum)
        share = torch.where(self.steps > 0, later, 1.0)
        deviation = lengths.std() if len(lengths) > 1 else lengths.new_zeros(())
        self.mean_length.lerp_(lengths.mean().to(share.dtype), share)
        self.deviation.lerp_(deviation.to(share.dtype), share)
        self.steps += 1
