"""Evaluation during and after training: a recipe's own search and metrics, or fast-reid's
figures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import nn

from ..data.fastreid_datasets import resolve
from ..metrics import evaluate as score
from ..retrieval import retrieve
from ..structures import Embeddings, GroundTruth, Item, Score
from ..structures.splits import (
    refuse_missing_queries,
    select_split,
    split_sides,
)
from . import classification, embedding
from .reid_metrics import fastreid_figures
from .settings import class_settings, search_settings

from fastreid.utils import comm


def evaluate(cfg: Any, model: nn.Module, dataset_name: str) -> OrderedDict[str, float]:
    """Embed queries and gallery of a dataset and score them, in percent.

    Returns:
        the figures by name, with "metric", the one the best checkpoint is chosen by; empty but in
        the main process.

    Raises:
        DataError: a query image cannot be read, or a split is empty.
    """
    items = resolve(dataset_name, combine_all=cfg.DATASETS.COMBINEALL)
    wanted = search_settings(cfg)
    classified: list[Score] = []
    if class_settings(cfg).metrics:
        classified = _classify_queries(cfg, model, select_split(items, "query", dataset_name))
        if not wanted.metrics:
            return in_percent(classified)
    queries, gallery = (list(side) for side in split_sides(items, dataset_name))
    rows, vectors, rejects = embedding.in_memory(cfg, model, queries + gallery)
    refuse_missing_queries(queries, rows, rejects)
    if not comm.is_main_process():
        return OrderedDict()
    asked = rows < len(queries)
    kept = [gallery[row - len(queries)] for row in rows[~asked]]
    truth = GroundTruth.from_items(queries, kept)
    pair = (
        Embeddings(truth.query_ids, vectors[asked]),
        Embeddings(truth.gallery_ids, vectors[~asked]),
    )
    if not wanted.metrics:
        return fastreid_figures(cfg, *pair, truth)
    ranking = retrieve(*pair, wanted.search, wanted.enhance, wanted.rerank)[-1]
    return in_percent([*score(ranking, truth, wanted.metrics), *classified])


def _classify_queries(cfg: Any, model: nn.Module, queries: Sequence[Item]) -> list[Score]:
    """The queries' SEEK.CLASS_METRICS; none but in the main process."""
    rows, probabilities, rejects = embedding.in_memory(
        cfg, model, queries, classification.classifier(cfg, model)
    )
    refuse_missing_queries(queries, rows, rejects)
    return classification.figures(cfg, probabilities, queries) if comm.is_main_process() else []


def in_percent(scores: Sequence[Score]) -> OrderedDict[str, float]:
    """Scores by name in percent; the first is also "metric".

    Empty without scores, as but in the main process.
    """
    figures = OrderedDict((score.name, 100 * float(score.value)) for score in scores)
    if figures:
        figures["metric"] = next(iter(figures.values()))
    return figures
