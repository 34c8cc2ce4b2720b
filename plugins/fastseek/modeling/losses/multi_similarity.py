"""Multi-similarity loss with its miner."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...registry import LOSSES
from ._legal import check_cosines, check_not_negative, check_positive
from ._pairs import PairLoss, Pairs, log_one_plus_exp, log_sum_exp, mean_over_all


@LOSSES.register()
class MultiSimilarity(PairLoss):
    """The pairs of an anchor that are hard beside its other pairs, weighted by how hard they are.

    A row of another class counts where its cosine is above the lowest of the anchor's own class -
    epsilon, one of the own class where it is below the highest of the others + epsilon. An anchor
    costs log(1 + sum of exp(-alpha (s - base))) / alpha over the first kind's opposites, its
    positives, and log(1 + sum of exp(beta (s - base))) / beta over its negatives. The mean runs over
    all anchors of all processes; one without a positive or without a negative costs nothing.

    Args:
        on: name of the embedding.
        alpha: how much faster a far positive weighs.
        beta: how much faster a near negative weighs.
        base: lambda, the cosine at which a pair weighs as much as the 1; the paper's text has 1,
            the authors' experiments 0.5.
        epsilon: of the miner; None takes all pairs.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, alpha or beta that is not positive, a base that is no cosine,
            or a negative epsilon.

    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning,
        CVPR 2019 (arXiv 1904.06627), section 4: the miner, and L_MS
    Example: multi_similarity(on='gem', alpha=2, beta=50, base=0.5)
    """

    def __init__(
        self,
        on: str,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float | None = 0.1,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_positive(alpha=alpha, beta=beta)
        check_cosines(base=base)
        check_not_negative(epsilon=epsilon or 0.0)
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.epsilon = epsilon

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        cosine = pairs.similarity
        same, other = self._mine(pairs, cosine.detach())
        far = log_sum_exp(-self.alpha * (cosine - self.base), same)
        near = log_sum_exp(self.beta * (cosine - self.base), other)
        cost = log_one_plus_exp(far) / self.alpha + log_one_plus_exp(near) / self.beta
        return mean_over_all(cost, torch.ones_like(cost, dtype=torch.bool))

    def _mine(self, pairs: Pairs, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The positives and negatives that count, bool [B, M] each."""
        if self.epsilon is None:
            return pairs.same, pairs.other
        lowest = cosine.masked_fill(~pairs.same, torch.inf).min(dim=1, keepdim=True).values
        highest = cosine.masked_fill(~pairs.other, -torch.inf).max(dim=1, keepdim=True).values
        same = pairs.same & (cosine < highest + self.epsilon)
        return same, pairs.other & (cosine > lowest - self.epsilon)
