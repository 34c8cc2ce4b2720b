"""How every positive stands against the other rows of its query: what losses over ranks share."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..layers.gather import count_processes, sum_over_processes
from ._pairs import Pairs


class Positives(NamedTuple):
    """Every pair of a query of this process and a row of its class, T in all.

    Args:
        gap: [T, M], how much more similar the query is to every row than to the positive.
        same: bool [T, M], other positives of the query.
        other: bool [T, M], its negatives.
        share: [T], what a cost is multiplied with so that their sum is the mean over a query's
            positives and then over the queries of all processes that have some.
    """

    gap: torch.Tensor
    same: torch.Tensor
    other: torch.Tensor
    share: torch.Tensor


def rank_positives(pairs: Pairs, similarity: torch.Tensor) -> Positives:
    """The positives of every query of a batch; similarity is [B, M]."""
    query, positive = pairs.same.nonzero(as_tuple=True)
    gap = similarity[query] - similarity[query, positive].unsqueeze(1)
    same = pairs.same[query].scatter(1, positive.unsqueeze(1), False)
    each = pairs.same.sum(dim=1).to(gap.dtype)
    queries = sum_over_processes((each > 0).sum()).clamp(min=1)
    share = count_processes() / (each[query] * queries)
    return Positives(gap, same, pairs.other[query], share)
