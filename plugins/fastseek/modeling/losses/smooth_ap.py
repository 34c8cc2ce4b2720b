"""Smooth-AP."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...registry import LOSSES
from ._legal import check_positive
from ._pairs import PairLoss, Pairs
from ._ranks import rank_positives


@LOSSES.register()
class SmoothAp(PairLoss):
    """1 - the average precision of every row of the batch as a query in the others, its steps
    smoothed.

    A rank is 1 + the number of rows that are more similar; here every such count is a sum of
    sigmoids of the difference of cosines / temperature. The query is not in what it searches. The
    mean runs over the queries of all processes that have a row of their class. Large batches with
    several images a class (sampler `pk`) are what it wants. Memory: the positive pairs of a batch
    times its rows.

    Args:
        on: name of the embedding.
        temperature: tau, of the sigmoid.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, or a temperature that is not positive.

    Source: Brown et al., Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval, ECCV
        2020 (arXiv 2007.12163), section 4: the smoothed AP, and L_AP
    Example: smooth_ap(on='gem', temperature=0.01)
    """

    def __init__(
        self,
        on: str,
        temperature: float = 0.01,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        positives = rank_positives(pairs, pairs.similarity)
        above = torch.sigmoid(positives.gap / self.temperature)
        among_same = 1 + (above * positives.same).sum(dim=1)
        among_all = among_same + (above * positives.other).sum(dim=1)
        return ((1 - among_same / among_all) * positives.share).sum()
