"""Queries whose models' best answers differ: several things in a image, or a small one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..errors import ArtefactError, UsageError
from ..knn.align import rows_of
from ..structures import Ranking


def overlaps(rankings: Sequence[Ranking], depth: int = 10) -> np.ndarray:
    """The share of equal images among the best answers of two models, the mean over all pairs of
    models.

    Lists that are shorter than `depth` are compared by the length of the longer one.

    Args:
        rankings: of the same queries in any order, over galleries with the same ids in any order.
        depth: answers compared.

    Returns:
        float64 [Q] in 0..1, in the order of the first ranking's queries.

    Raises:
        UsageError: fewer than two rankings, or a depth below 1.
        ArtefactError: the queries differ.
    """
    if len(rankings) < 2 or depth < 1:
        raise UsageError(
            f"{len(rankings)} rankings, depth {depth}: at least two rankings are compared, 1 deep"
            " or more"
        )
    best = [_best(ranking, rankings[0], number, depth) for number, ranking in enumerate(rankings)]
    pairs = list(itertools.combinations(best, 2))
    return np.array(
        [
            np.mean([_overlap(one[row], other[row]) for one, other in pairs])
            for row in range(len(rankings[0].query_ids))
        ]
    )


def _best(ranking: Ranking, first: Ranking, number: int, depth: int) -> list[set[str]]:
    order = rows_of(first.query_ids, ranking.query_ids)
    if len(order) != len(ranking.query_ids) or (order < 0).any():
        raise ArtefactError(
            f"ranking {number} is not over the queries of ranking 0: search with the same queries"
        )
    return [
        set(ranking.gallery_ids[found[found >= 0]].tolist())
        for found in ranking.indices[order, :depth]
    ]


def _overlap(one: set[str], other: set[str]) -> float:
    longer = max(len(one), len(other))
    return len(one & other) / longer if longer else 1.0
