"""The figures of a plain fast-reid recipe, with its TEST flags honoured."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from ..metrics import market, market_from_embeddings
from ..search.exact import Exact
from ..structures import Embeddings, GroundTruth, Ranking
from .settings import reid_settings


def fastreid_figures(
    cfg: Any, queries: Embeddings, gallery: Embeddings, truth: GroundTruth
) -> OrderedDict[str, float]:
    """Rank-1/5/10, mAP, mINP and "metric" as fast-reid's own evaluator gives them, in percent.

    TEST.AQE, METRIC, RERANK and ROC are honoured. Re-ranking is Zhong et al.'s as fast-reid's CPU
    code computes it (`fastreid/evaluation/rerank.py`), which needs no GPU; its evaluator mixes in
    another distance than that code.
    """
    settings = reid_settings(cfg)
    if settings.expand:
        queries, gallery = settings.expand(queries, gallery)
    if not (settings.rerank or settings.roc):
        return OrderedDict(market_from_embeddings(queries, gallery, truth, settings.metric))
    if settings.rerank:
        scores = settings.rerank.matrix(queries, gallery)
    else:
        search = Exact(k=len(gallery), metric=settings.metric)
        scores = _matrix(search(queries, gallery))
    figures = OrderedDict(market(scores, truth))
    return figures | roc(scores, truth) if settings.roc else figures


def _matrix(ranking: Ranking) -> np.ndarray:
    """A full-depth ranking as the similarity matrix [Q, G] it came from."""
    scores = np.empty((len(ranking.query_ids), len(ranking.gallery_ids)), np.float32)
    np.put_along_axis(scores, ranking.indices, ranking.scores, axis=1)
    return scores


def roc(scores: np.ndarray, truth: GroundTruth) -> OrderedDict[str, float]:
    """fast-reid's "TPR@FPR=1e-04" and its neighbours: shares of wrong pairs told apart, by
    distance.

    Args:
        scores: [Q, G], larger is better. As in fast-reid a wrong pair is the positive class, so the
            true positive rate is the share of wrong pairs farther apart than all but the given
            share of right ones.
    """
    wrong = np.ones(scores.shape, bool)
    kept = np.ones(scores.shape, bool)
    for query in range(len(scores)):
        wrong[query, truth.relevant_to(query)] = False
        kept[query, truth.junk_of(query)] = False
    false, true, _ = roc_curve(wrong[kept], -scores[kept])
    return OrderedDict(
        (f"TPR@FPR={share:.0e}", float(true[np.argmin(np.abs(false - share))]))
        for share in (1e-4, 1e-3, 1e-2)
    )
