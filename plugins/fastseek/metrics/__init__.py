"""Metrics: Ranking + GroundTruth -> scores. The only place that opens a GroundTruth."""

from ..structures import interval
from ._evaluate import evaluate, usual_metrics
from ._origin import describe_whole
from ._reid import market, market_from_embeddings

__all__ = [
    "describe_whole",
    "evaluate",
    "interval",
    "market",
    "market_from_embeddings",
    "usual_metrics",
]
