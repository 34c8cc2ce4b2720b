"""Evaluation during and after training: a recipe's own search and metrics, or fast-reid's
figures.
"""

from __future__ import annotations

import logging
import pathlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import nn

from ..data.fastreid_datasets import resolve
from ..data.rejects import Reject, append
from ..errors import DataError
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

logger = logging.getLogger("fastreid.fastseek")
UNREAD = "unreadable gallery images"


def evaluate(cfg: Any, model: nn.Module, dataset_name: str) -> OrderedDict[str, float]:
    """Embed queries and gallery of a dataset and score them, in percent.

    Returns:
        the figures by name, with "metric", the one the best checkpoint is chosen by, and where
        gallery images cannot be read how many, as "unreadable gallery images"; empty but in the
        main process.

    Raises:
        DataError: a query image cannot be read, or no gallery image can, or a split is empty.
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
    name_rejects(cfg, rejects)
    refuse_missing_queries(queries, rows, rejects)
    if not comm.is_main_process():
        return OrderedDict()
    asked = rows < len(queries)
    if asked.all():
        raise DataError(f"{dataset_name}: none of {len(gallery)} gallery images can be read")
    unread = len(queries) + len(gallery) - len(rows)
    kept = [gallery[row - len(queries)] for row in rows[~asked]]
    truth = GroundTruth.from_items(queries, kept)
    pair = (
        Embeddings(truth.query_ids, vectors[asked]),
        Embeddings(truth.gallery_ids, vectors[~asked]),
    )
    if wanted.metrics:
        ranking = retrieve(*pair, wanted.search, wanted.enhance, wanted.rerank)[-1]
        figures = in_percent([*score(ranking, truth, wanted.metrics), *classified])
    else:
        figures = fastreid_figures(cfg, *pair, truth)
    if unread:
        # The figures are over a smaller gallery than other runs': the line that tells them says so.
        figures[UNREAD] = float(unread)
    return figures


def name_rejects(cfg: Any, rejects: Sequence[Reject]) -> None:
    """Name the images that could not be read, in the log and in OUTPUT_DIR/rejects.csv.

    Args:
        cfg: the recipe.
        rejects: those of this process; every process names its own.
    """
    if not rejects:
        return
    file = pathlib.Path(cfg.OUTPUT_DIR) / "rejects.csv"
    append(file, rejects)
    for one in rejects:
        logger.warning("%s cannot be read (%s); see %s", one["path"], one["code"], file)


def _classify_queries(cfg: Any, model: nn.Module, queries: Sequence[Item]) -> list[Score]:
    """The queries' SEEK.CLASS_METRICS; none but in the main process."""
    rows, probabilities, rejects = embedding.in_memory(
        cfg, model, queries, classification.classifier(cfg, model)
    )
    name_rejects(cfg, rejects)
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
