"""fast-reid's own figures, straight from scores or embeddings."""

from __future__ import annotations

import numpy as np

from ..structures import Embeddings, GroundTruth
from ._base import first_within, mean
from ._relevance_ranks import Hits, from_embeddings, from_scores
from .map import average_precision
from .minp import inverse_penalty


def market(scores: np.ndarray, truth: GroundTruth) -> dict[str, float]:
    """Rank-1, Rank-5, Rank-10, mAP, mINP and "metric", in percent, as fast-reid's evaluator gives
    them.

    Args:
        scores: [Q, G] in the truth's order, larger is better; give minus the distances.
        truth: what is relevant and what is junk.

    Raises:
        DataError: no query has a relevant image, or a score is not finite.
    """
    return _figures(from_scores(scores, truth))


def market_from_embeddings(
    queries: Embeddings, gallery: Embeddings, truth: GroundTruth, metric: str = "cosine"
) -> dict[str, float]:
    """The same figures by comparing embeddings in the truth's order, without the matrix in memory.

    Raises:
        ArtefactError: the ids are not the truth's. DataError: as `market`, or a vector is not
            finite.
    """
    return _figures(from_embeddings(queries, gallery, truth, metric))


def _figures(hits: Hits) -> dict[str, float]:
    figures = {f"Rank-{k}": first_within(hits, k) for k in (1, 5, 10)}
    figures |= {"mAP": average_precision(hits), "mINP": inverse_penalty(hits)}
    percent = {name: 100 * mean(name, values, hits).value for name, values in figures.items()}
    return {**percent, "metric": (percent["mAP"] + percent["Rank-1"]) / 2}
