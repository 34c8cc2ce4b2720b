"""A cosine classifier whose scale and margin follow the median of the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ...registry import LOSSES
from ..layers.gather import gather_tensor
from ._margin_softmax import MarginSoftmax
from ._memory import is_training_step

RIVALS = 1e7 - 1  # classes that are reckoned with, whatever their real number


@LOSSES.register()
class MadaCos(MarginSoftmax):
    """MadaCos (Zhu et al., CFCD, 2023).

    Let c be the median of the cosines to the own class over the batch of all processes. The scale
    is s = log(10^7 (1 - alpha) / alpha) / (1 - c), at least `least`. With B the sum of exp(s cos_j)
    over the other classes, in the median's row, the margin is m = c - log(B alpha / (1 - alpha)) /
    s, at least 0: with it the median's row gets the probability alpha. Neither takes a gradient.
    See `MarginSoftmax` for dropout and precision.

    Args:
        on: name of the embedding.
        alpha: the probability the median is brought to, 0.1 in the paper's code.
        least: the smallest scale.
        weight: factor of the loss.
        dropout: on the embedding of length 1.
        smoothing: label smoothing of the cross-entropy.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or an illegal value.

    Source: Zhu et al., Coarse-to-Fine: Learning Compact Discriminative Representation for
        Single-Stage Image Retrieval, ICCV 2023 (arXiv 2308.04008), MadaCos
    Example: mada_cos(on='cfcd')
    """

    defaults: Mapping[str, float] = {"weight": 1.0, "dropout": 0.0}
    statistics = ("scale",)
    scale: torch.Tensor

    def __init__(
        self,
        on: str,
        alpha: float = 0.1,
        least: float = 32.0,
        weight: float = 1.0,
        dropout: float = 0.0,
        smoothing: float = 0.0,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {alpha}")
        super().__init__(on, least, 0.0, weight, dropout, smoothing, dims=dims, counts=counts)
        self.alpha, self.least = alpha, least
        self.scale.fill_(least)

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> float32 [B, C] at the scale of the last training step."""
        return super().logits(embedding) * (self.scale / self.least)

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The scale stands in the cosines, relative to the smallest, which the frame multiplies."""
        scale, angle = self.adapt(cosine.detach(), own.detach())
        if is_training_step(self):
            self.scale.copy_(scale)
        grown = scale / self.least
        return cosine * grown, (own - angle) * grown

    @torch.no_grad()
    def adapt(self, cosine: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The scale and the margin of a batch.

        Args:
            cosine: [B, C] of this process.
            own: [B, 1].
        """
        if not self.training:
            return self.scale.to(cosine), torch.zeros_like(self.scale)
        everyone = gather_tensor(own).flatten()
        middle = everyone.median()
        wanted = math.log(RIVALS * (1 - self.alpha) / self.alpha)
        scale = (wanted / (1 - middle).clamp(min=1e-6)).clamp(min=self.least)
        # Another class with the very cosine of the own one leaves the same sum.
        own_place = (cosine == own).int().argmax(dim=1, keepdim=True)
        rivals = (scale * cosine).scatter(1, own_place, -torch.inf).logsumexp(dim=1)
        row = (everyone == middle).nonzero()[0, 0]
        sums = gather_tensor(rivals)[row]
        odds = sums + math.log(self.alpha / (1 - self.alpha))
        return scale, (middle - odds / scale).clamp(min=0)
