"""Metrics: Ranking + GroundTruth -> scores. The only place that opens a GroundTruth."""

from ..structures import interval
from ._evaluate import evaluate
from ._origin import describe_whole
from ._reid import market, market_from_embeddings

__all__ = ["describe_whole", "evaluate", "interval", "market", "market_from_embeddings"]
