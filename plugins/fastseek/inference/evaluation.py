"""Evaluation during and after training: a recipe's own search and metrics, or fast-reid's
figures.
"""

from __future__ import annotations

import logging
import pathlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..data.fastreid_datasets import resolve
from ..data.rejects import Reject, append
from ..io.paths import PathLike
from ..metrics import describe_whole
from ..metrics import evaluate as score
from ..retrieval import retrieve
from ..structures import Embeddings, GroundTruth, Item, Score, describe_protocol
from ..structures.splits import refuse_missing_queries, select_split
from . import classification, embedding
from .reid_metrics import fastreid_figures
from .settings import search_settings

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
UNREAD = "unreadable gallery images"


def figures_of(
    cfg: Any,
    queries: Embeddings,
    gallery: Embeddings,
    truth: GroundTruth,
    metrics: Sequence[str] = (),
) -> OrderedDict[str, float]:
    """Search as a recipe says and score by SEEK.METRICS; in percent.

    Args:
        cfg: the recipe.
        queries, gallery: of one model.
        truth: over the same ids.
        metrics: call strings for a recipe that names none; without them it gets fast-reid's figures.
    """
    wanted = search_settings(cfg)
    metrics = wanted.metrics or list(metrics)
    if not metrics:
        _log_protocol(describe_whole(truth))
        return fastreid_figures(cfg, queries, gallery, truth)
    ranking = retrieve(queries, gallery, wanted.search, wanted.enhance, wanted.rerank)[-1]
    scores = score(ranking, truth, metrics)
    _log_protocol(scores[0].protocol)
    return in_percent(scores)


def _log_protocol(protocol: Mapping[str, Any]) -> None:
    """Tell what the figures are over: the table of a training has no room for it."""
    for line in describe_protocol(protocol):
        logger.info(line)


def classified_figures(cfg: Any, model: nn.Module, dataset_name: str) -> OrderedDict[str, float]:
    """Classify the queries of a dataset and score that by SEEK.CLASS_METRICS, in percent.

    Returns:
        the figures by name, with "metric"; empty but in the main process.

    Raises:
        DataError: a query image cannot be read, or there is no query.
    """
    queries = select_split(
        resolve(dataset_name, combine_all=cfg.DATASETS.COMBINEALL), "query", dataset_name
    )
    return in_percent(_classify_queries(cfg, model, queries))


def name_rejects(folder: PathLike, rejects: Sequence[Reject]) -> None:
    """Name the images that could not be read, in the log and in the folder's rejects.csv.

    Args:
        folder: of the run.
        rejects: those of this process; every process names its own.
    """
    if not rejects:
        return
    file = pathlib.Path(folder) / "rejects.csv"
    append(file, rejects)
    for one in rejects:
        logger.warning("%s cannot be read (%s); see %s", one["path"], one["code"], file)


def _classify_queries(cfg: Any, model: nn.Module, queries: Sequence[Item]) -> list[Score]:
    """The queries' SEEK.CLASS_METRICS; none but in the main process."""
    rows, probabilities, rejects = embedding.in_memory(
        cfg, model, queries, classification.classifier(cfg, model)
    )
    name_rejects(cfg.OUTPUT_DIR, rejects)
    refuse_missing_queries(queries, rows, rejects)
    return classification.figures(cfg, probabilities, queries) if comm.is_main_process() else []


def in_percent(scores: Sequence[Score]) -> OrderedDict[str, float]:
    """Scores by name in percent; the first is also "metric".

    Empty without scores, as but in the main process.
    """
    # fast-reid's writers and its best model read percent and "metric".
    figures = OrderedDict((score.name, 100 * float(score.value)) for score in scores)
    if figures:
        figures["metric"] = next(iter(figures.values()))
    return figures
