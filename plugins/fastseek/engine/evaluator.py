"""Evaluation during and after training: a recipe's own search and metrics, or fast-reid's figures."""

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
from ..structures import Embeddings, Item, Ranking, Score, Truth
from . import extract
from .reid_figures import fastreid_figures

from fastreid.utils import comm


def evaluate(cfg: Any, model: nn.Module, dataset_name: str) -> OrderedDict[str, float]:
    """Embed queries and gallery of a dataset and score them, in percent.

    Returns:
        the figures by name, with "metric", the one the best checkpoint is chosen by; empty but in the main process.

    Raises:
        DataError: a query photo cannot be read, or a split is empty.
    """
    queries, gallery = splits(resolve(dataset_name, cfg), dataset_name)
    rows, vectors, rejects = extract.in_memory(cfg, model, queries + gallery)
    refuse_missing_queries(queries, rows, rejects)
    if not comm.is_main_process():
        return OrderedDict()
    asked = rows < len(queries)
    kept = [gallery[row - len(queries)] for row in rows[~asked]]
    truth = truth_of(queries, kept)
    pair = (Embeddings(truth.query_ids, vectors[asked]), Embeddings(truth.gallery_ids, vectors[~asked]))
    if cfg.SEEK.METRICS:
        return in_percent(score(list(search(cfg, *pair))[-1], truth, list(cfg.SEEK.METRICS)))
    return fastreid_figures(cfg, *pair, truth)


def splits(items: Sequence[Item], name: str) -> tuple[list[Item], list[Item]]:
    """The query and gallery items.

    Raises:
        DataError: one of the two is empty.
    """
    chosen = [[item for item in items if item.split == split] for split in ("query", "gallery")]
    for split, found in zip(("query", "gallery"), chosen, strict=True):
        if not found:
            raise DataError(f"{name} has no {split} photos, so nothing can be evaluated: "
                            "mark some, or train without evaluation (DATASETS.TESTS \"()\")")
    return chosen[0], chosen[1]


def refuse_missing_queries(queries: Sequence[Item], rows: np.ndarray, rejects: Sequence[dict[str, Any]] = ()) -> None:
    """A query without a vector would change what the mean is over, so it ends the evaluation, in every process.

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
        raise DataError(f"{queries[missing[0]].path}: query photo cannot be read ({why}), "
                        f"and {len(missing) - 1} more: mend or remove them, scores over fewer queries mislead")


def truth_of(queries: Sequence[Item], gallery: Sequence[Item]) -> Truth:
    """Relevance by label, with the camera rule where groups are known."""
    columns = [[getattr(item, field) for item in items]
               for items in (queries, gallery) for field in ("id", "label", "group")]
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
    """Scores by name in percent; the first is also "metric"."""
    figures = OrderedDict((score.name, 100 * float(score.value)) for score in scores)
    figures["metric"] = next(iter(figures.values()))
    return figures
