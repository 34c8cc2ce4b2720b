"""The figures of a plain fast-reid recipe, with its TEST flags honoured."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from ..enhance.aqe import Aqe
from ..metrics import market, market_from_embeddings
from ..rerank.k_reciprocal import KReciprocal
from ..search.exact import Exact
from ..structures import Embeddings, GroundTruth, Ranking


def fastreid_figures(
    cfg: Any, queries: Embeddings, gallery: Embeddings, truth: GroundTruth
) -> OrderedDict[str, float]:
    """Rank-1/5/10, mAP, mINP and "metric" as fast-reid's own evaluator gives them, in percent.

    TEST.AQE, METRIC, RERANK and ROC are honoured. Re-ranking is Zhong et al.'s as fast-reid's CPU
    code computes it (`fastreid/evaluation/rerank.py`), which needs no GPU; its evaluator mixes in
    another distance than that code.
    """
    if cfg.TEST.AQE.ENABLED:
        aqe = Aqe(k=cfg.TEST.AQE.QE_K, times=cfg.TEST.AQE.QE_TIME, alpha=cfg.TEST.AQE.ALPHA)
        queries, gallery = aqe(queries, gallery)
    metric = {"cosine": "cosine", "euclidean": "l2"}[cfg.TEST.METRIC]
    if not (cfg.TEST.RERANK.ENABLED or cfg.TEST.ROC.ENABLED):
        return OrderedDict(market_from_embeddings(queries, gallery, truth, metric))
    scores = _scores(cfg, queries, gallery, metric)
    figures = OrderedDict(market(scores, truth))
    return figures | roc(scores, truth) if cfg.TEST.ROC.ENABLED else figures


def _scores(cfg: Any, queries: Embeddings, gallery: Embeddings, metric: str) -> np.ndarray:
    own = cfg.TEST.RERANK
    if own.ENABLED:
        return KReciprocal(k1=own.K1, k2=own.K2, lambda_=own.LAMBDA, metric=metric).matrix(
            queries, gallery
        )
    return _matrix(Exact(k=len(gallery), metric=metric)(queries, gallery))


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
