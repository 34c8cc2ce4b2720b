"""Evaluation during and after training: a recipe's own search and metrics, or fast-reid's
figures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..data.bridge import resolve
from ..errors import DataError
from ..metrics import evaluate as score
from ..registry import ENHANCERS, RERANKERS, SEARCHERS, build
from ..structures import Embeddings, Item, Ranking, Score, Truth, with_split
from . import classify, extract
from .reid_figures import fastreid_figures

from fastreid.utils import comm


def evaluate(cfg: Any, model: nn.Module, dataset_name: str) -> OrderedDict[str, float]:
    """Embed queries and gallery of a dataset and score them, in percent.

    Returns:
        the figures by name, with "metric", the one the best checkpoint is chosen by; empty but in
        the main process.

    Raises:
        DataError: a query photo cannot be read, or a split is empty.
    """
    items = resolve(dataset_name, cfg)
    classified = (
        _classified(cfg, model, split_of(items, "query", dataset_name)) if cfg.SEEK.FIGURES else []
    )
    if cfg.SEEK.FIGURES and not cfg.SEEK.METRICS:
        return in_percent(classified)
    queries, gallery = splits(items, dataset_name)
    rows, vectors, rejects = extract.in_memory(cfg, model, queries + gallery)
    refuse_missing_queries(queries, rows, rejects)
    if not comm.is_main_process():
        return OrderedDict()
    asked = rows < len(queries)
    kept = [gallery[row - len(queries)] for row in rows[~asked]]
    truth = truth_of(queries, kept)
    pair = (
        Embeddings(truth.query_ids, vectors[asked]),
        Embeddings(truth.gallery_ids, vectors[~asked]),
    )
    if cfg.SEEK.METRICS:
        ranked = score(list(search(cfg, *pair))[-1], truth, list(cfg.SEEK.METRICS))
        return in_percent([*ranked, *classified])
    return fastreid_figures(cfg, *pair, truth)


def _classified(cfg: Any, model: nn.Module, queries: Sequence[Item]) -> list[Score]:
    """The queries' SEEK.FIGURES; none but in the main process."""
    rows, probabilities, rejects = extract.in_memory(
        cfg, model, queries, classify.classifier(cfg, model)
    )
    refuse_missing_queries(queries, rows, rejects)
    return classify.figures(cfg, probabilities, queries) if comm.is_main_process() else []


def splits(items: Sequence[Item], name: str) -> tuple[Sequence[Item], Sequence[Item]]:
    """The query and gallery items.

    Raises:
        DataError: one of the two is empty.
    """
    return split_of(items, "query", name), split_of(items, "gallery", name)


def split_of(items: Sequence[Item], split: str, name: str) -> Sequence[Item]:
    """The items of one split.

    Raises:
        DataError: there is none.
    """
    found = with_split(items, split)
    if not len(found):
        raise DataError(
            f"{name} has no {split} photos, so nothing can be evaluated: "
            'mark some, or train without evaluation (DATASETS.TESTS "()")'
        )
    return found


def refuse_missing_queries(
    queries: Sequence[Item], rows: np.ndarray, rejects: Sequence[dict[str, Any]] = ()
) -> None:
    """A query without a vector would change what the mean is over, so it ends the evaluation, in
    every process.

    Args:
        queries: all of them; their item numbers are 0 … Q - 1.
        rows: the item numbers that have a vector.
        rejects: what is known of the others.

    Raises:
        DataError: names the first missing query, why, and how many more there are.
    """
    missing = np.setdiff1d(np.arange(len(queries)), rows)
    if len(missing):
        codes = {int(reject["row"]): reject["code"] for reject in rejects}
        why = codes.get(int(missing[0]), "see the log")
        raise DataError(
            f"{queries[missing[0]].path}: query photo cannot be read ({why}), "
            f"and {len(missing) - 1} more: mend or remove them, scores over fewer queries mislead"
        )


def truth_of(queries: Sequence[Item], gallery: Sequence[Item]) -> Truth:
    """Relevance by label, with the camera rule where groups are known."""
    columns = [
        [getattr(item, field) for item in items]
        for items in (queries, gallery)
        for field in ("id", "label", "group")
    ]
    q_ids, q_labels, q_groups, g_ids, g_labels, g_groups = columns
    return Truth.from_labels(q_ids, q_labels, g_ids, g_labels, q_groups, g_groups)


def search(cfg: Any, queries: Embeddings, gallery: Embeddings) -> Iterator[Ranking]:
    """Yield the ranking after the search, then after every re-ranking step of the recipe."""
    for call in cfg.SEEK.ENHANCE:
        queries, gallery = build(call, ENHANCERS)(queries, gallery)
    ranking = build(cfg.SEEK.SEARCH, SEARCHERS)(queries, gallery)
    yield ranking
    for call in cfg.SEEK.RERANK:
        ranking = build(call, RERANKERS)(ranking, queries, gallery)
        yield ranking


def in_percent(scores: Sequence[Score]) -> OrderedDict[str, float]:
    """Scores by name in percent; the first is also "metric".

    Empty without scores, as but in the main process.
    """
    figures = OrderedDict((score.name, 100 * float(score.value)) for score in scores)
    if figures:
        figures["metric"] = next(iter(figures.values()))
    return figures
