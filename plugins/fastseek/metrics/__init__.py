"""Metrics: Ranking + Truth -> scores. The only place that opens a Truth."""

from ..registry import import_parts
from ..structures import interval
from .reid import market, market_from_embeddings
from .scoring import evaluate

import_parts(__name__, __path__)

__all__ = ["evaluate", "interval", "market", "market_from_embeddings"]
