"""A ranking and the truth to all the figures a recipe asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..errors import UsageError
from ..registry import METRICS, build
from ..structures import GroundTruth, Ranking, Score
from ._align import align
from ._base import OnHits
from ._origin import describe_origin
from ._relevance_ranks import Hits, from_ranking


def evaluate(ranking: Ranking, truth: GroundTruth, calls: Sequence[str]) -> list[Score]:
    """Score a ranking.

    Args:
        ranking: over the truth's queries and gallery, in any order.
        truth: what is relevant and what is junk.
        calls: call strings such as "map(100)" and "recall(1, 10)".

    Returns:
        the scores in the order of the calls; their protocols tell how they came about.

    Raises:
        ArtefactError: ranking and truth are not over the same images, or the lists are too short
            for a figure.
        DataError: no query has a relevant image.
        UsageError: a call names no metric, or none is given.
    """
    if not calls:
        raise UsageError(f"no metric is asked for; known: {', '.join(METRICS.names())}")
    parts = [build(call, METRICS) for call in calls]
    ranking = align(ranking, truth)
    hits: Hits | None = None  # the same for all metrics that rest on places
    scores: list[Score] = []
    origin = describe_origin(ranking, truth)
    for part in parts:
        if isinstance(part, OnHits):
            hits = hits or from_ranking(ranking, truth)
            scores += part.score(hits)
        else:
            scores += part(ranking, truth)
    return [dataclasses.replace(score, protocol={**origin, **score.protocol}) for score in scores]


def usual_metrics(ranking: Ranking, truth: GroundTruth) -> list[str]:
    """The call strings of the figures that a person looks at first.

    Args:
        ranking, truth: over the same queries and gallery, in one order.
    """
    depth = min(max(1, from_ranking(ranking, truth).reach), 100)
    return ["recall(1)", f"map({depth})", "gap()"]
