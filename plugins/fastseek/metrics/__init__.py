"""Metrics: Ranking + Truth -> scores. The only place that opens a Truth."""

from ..structures import interval
from ._evaluate import evaluate
from ._reid import market, market_from_embeddings

__all__ = ["evaluate", "interval", "market", "market_from_embeddings"]
