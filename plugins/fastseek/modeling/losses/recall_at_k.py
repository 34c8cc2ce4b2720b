"""The recall@k surrogate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ...registry import LOSSES
from ._legal import check_positive
from ._pairs import PairLoss, Pairs
from ._ranks import rank_positives


@LOSSES.register()
class RecallAtK(PairLoss):
    """1 - the share of a query's positives among its k nearest rows, smoothed, as a mean over
    several k.

    The rank of a positive is 1 + the sum of sigmoids of the cosine's difference / inner, and it is
    among the k nearest by a sigmoid of (k - rank) / outer. The query is not in what it searches. The
    mean runs over the queries of all processes that have a row of their class. The paper has
    batches of 4096; see `SEEK.ACCUMULATE` for what does not change the pairs, and use more processes
    for what does.

    Args:
        on: name of the embedding.
        ks: numbers of nearest rows.
        inner: tau_2, of the sigmoid over cosines.
        outer: tau_1, of the sigmoid over ranks.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, a temperature that is not positive, or an illegal k.

    Source: Patel et al., Recall@k Surrogate Loss with Large Batches and Similarity Mixup, CVPR 2022
        (arXiv 2108.11179), section 3: the surrogate of recall@k, and its mean over k
    Example: recall_at_k(on='gem', ks=(1, 2, 4, 8, 16))
    """

    def __init__(
        self,
        on: str,
        ks: Sequence[int] = (1, 2, 4, 8, 16),
        inner: float = 0.01,
        outer: float = 1.0,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_positive(inner=inner, outer=outer)
        self.ks = tuple(ks)
        if not self.ks or any(type(k) is not int or k < 1 for k in self.ks):
            raise ValueError(f"ks must be positive whole numbers, one or more, got {ks}")
        self.inner = inner
        self.outer = outer

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        positives = rank_positives(pairs, pairs.similarity)
        above = torch.sigmoid(positives.gap / self.inner)
        rank = 1 + (above * (positives.same | positives.other)).sum(dim=1, keepdim=True)
        ks = torch.tensor(self.ks, device=rank.device)
        missed = 1 - torch.sigmoid((ks - rank) / self.outer)
        return (missed.mean(dim=1) * positives.share).sum()
