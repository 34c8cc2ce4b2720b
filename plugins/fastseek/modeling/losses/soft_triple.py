"""SoftTriple: several centers a class, softly chosen."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from ...registry import LOSSES
from ..layers.class_shard import ClassShard, add_shares
from ._legal import check_not_negative, check_positive
from ._margin_softmax import MarginSoftmax


@LOSSES.register()
class SoftTriple(MarginSoftmax):
    """Cross-entropy over the similarities to classes of k centers each, which may melt together.

    The similarity of a row to a class is the mean of its cosines to the centers, weighted by their
    softmax at the temperature gamma; that of the own class is lowered by `margin`, all are scaled by
    s. The mean distance of the centers of a class, times `tau`, draws centers together that are not
    needed: sqrt(2 - 2 cos), summed over pairs, by C k (k - 1). It is a triplet loss against centers
    in place of rows, and needs no several images of a class in a batch.

    Args:
        on: name of the embedding.
        k: centers a class.
        s: lambda, scale of the similarities.
        gamma: temperature of the choice among a class's centers.
        margin: delta, of the cosine, or "dynamic(low, high)" by class size.
        tau: factor of the distances between centers.
        weight: factor of the loss.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or an illegal value.

    Source: Qian et al., SoftTriple Loss: Deep Metric Learning Without Triplet Sampling, ICCV 2019
        (arXiv 1909.05235), section 3: the loss with the regularizer of centers
    Example: soft_triple(on='gem', k=10, s=20, gamma=0.1)
    """

    defaults = {"s": 20.0, "margin": 0.01, "weight": 1.0, "dropout": 0.0}

    def __init__(
        self,
        on: str,
        k: int = 10,
        s: float = 20.0,
        gamma: float = 0.1,
        margin: float | str = 0.01,
        tau: float = 0.2,
        weight: float = 1.0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        check_positive(gamma=gamma)
        check_not_negative(tau=tau)
        super().__init__(on, s, margin, weight, shard=shard, dims=dims, counts=counts)
        self.shard = ClassShard(len(counts), k, shard)
        self.weight = self.shard.centers(dims[on])
        self.k = k
        self.gamma = gamma
        self.tau = tau

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The similarity of the own class is lowered by its margin."""
        return cosine, own - margin

    def cost(
        self, logits: torch.Tensor, targets: torch.Tensor, facts: torch.Tensor | None
    ) -> torch.Tensor:
        """Cross-entropy and the distances between centers."""
        loss = super().cost(logits, targets, facts)
        if self.k == 1 or not self.tau:
            return loss
        unit = F.normalize(self.weight.to(logits.dtype)).unflatten(0, (-1, self.k))
        first, second = torch.triu_indices(self.k, self.k, 1, device=unit.device)
        apart = (unit[:, first] - unit[:, second]).square().sum(dim=2)
        pairs = self.shard.classes * self.k * (self.k - 1)
        # Equal centers would have no gradient: the square root needs a little to stand on.
        spread = apart.clamp(min=1e-10).sqrt().sum() / pairs
        return loss + self.tau * add_shares(spread, self.shard.block)

    def _cosine(self, unit: torch.Tensor) -> torch.Tensor:
        each = super()._cosine(unit).unflatten(1, (-1, self.k))
        return ((each / self.gamma).softmax(dim=2) * each).sum(dim=2)
