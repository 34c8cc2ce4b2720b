"""What inference wants of a recipe, as plain values: the one place here that reads its keys."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..enhance.aqe import Aqe
from ..errors import UsageError
from ..rerank.k_reciprocal import KReciprocal

VOTES = ("probabilities", "logits")
REID_METRICS = {"cosine": "cosine", "euclidean": "l2"}


@dataclasses.dataclass(frozen=True)
class EmbeddingSettings:
    """How images become embeddings.

    Args:
        transforms: call strings, or what stands for fast-reid's own.
        mean, std: what the model takes from the pixels, and divides them by.
        views: call strings; fast-reid's flip test is one.
        unit_length: whether vectors have length 1: so in recipes of ours, not in fast-reid's.
        mirror: fast-reid's flip test in a recipe without unit length.
        foreground: the call string of SEEK.FOREGROUND, "" for whole images.
        crops: the call string of SEEK.CROPS, or "".
    """

    transforms: list[str]
    mean: list[float]
    std: list[float]
    views: list[str]
    unit_length: bool
    mirror: bool
    foreground: str
    crops: str


@dataclasses.dataclass(frozen=True)
class ClassSettings:
    """How images are classified.

    Args:
        vote: what is averaged over the views, "probabilities" or "logits".
        classes: the classes.json of the model, "" when unknown.
        metrics: call strings of the figures.
    """

    vote: str
    classes: str
    metrics: list[str]


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How embeddings are searched and scored, as call strings; without `metrics` fast-reid's own
    figures are meant.
    """

    search: str
    enhance: list[str]
    rerank: list[str]
    metrics: list[str]


@dataclasses.dataclass(frozen=True)
class ReidSettings:
    """The TEST flags of fast-reid.

    Args:
        metric: "cosine" or "l2".
        expand: query expansion, None without.
        rerank: None without.
        roc: whether the ROC figures are wanted.
    """

    metric: str
    expand: Aqe | None
    rerank: KReciprocal | None
    roc: bool


def embedding_settings(cfg: Any) -> EmbeddingSettings:
    """How a recipe's images become embeddings."""
    flip = bool(cfg.TEST.FLIP.ENABLED)
    views = list(cfg.SEEK.VIEWS)
    if flip and "hflip()" not in views:
        views.append("hflip()")
    unit_length = bool(cfg.SEEK.METRICS or cfg.SEEK.VIEWS)
    return EmbeddingSettings(
        transforms=list(cfg.SEEK.TEST) or [_fastreid_transforms(cfg)],
        mean=list(cfg.MODEL.PIXEL_MEAN),
        std=list(cfg.MODEL.PIXEL_STD),
        views=views,
        unit_length=unit_length,
        mirror=flip and not unit_length,
        foreground=cfg.SEEK.FOREGROUND,
        crops=cfg.SEEK.CROPS,
    )


def class_settings(cfg: Any) -> ClassSettings:
    """How a recipe classifies.

    Raises:
        UsageError: SEEK.VOTE is unknown.
    """
    if cfg.SEEK.VOTE not in VOTES:
        raise UsageError(f"SEEK.VOTE {cfg.SEEK.VOTE!r} is not one of {', '.join(VOTES)}")
    return ClassSettings(cfg.SEEK.VOTE, cfg.SEEK.CLASSES, list(cfg.SEEK.CLASS_METRICS))


def search_settings(cfg: Any) -> SearchSettings:
    """How a recipe searches and scores."""
    return SearchSettings(
        cfg.SEEK.SEARCH,
        list(cfg.SEEK.ENHANCE),
        list(cfg.SEEK.RERANK),
        list(cfg.SEEK.METRICS),
    )


def reid_settings(cfg: Any) -> ReidSettings:
    """The TEST flags of a plain fast-reid recipe.

    Raises:
        UsageError: TEST.METRIC is unknown.
    """
    if cfg.TEST.METRIC not in REID_METRICS:
        known = ", ".join(REID_METRICS)
        raise UsageError(f"TEST.METRIC {cfg.TEST.METRIC!r} is not one of {known}")
    metric = REID_METRICS[cfg.TEST.METRIC]
    aqe, own = cfg.TEST.AQE, cfg.TEST.RERANK
    return ReidSettings(
        metric=metric,
        expand=Aqe(k=aqe.QE_K, times=aqe.QE_TIME, alpha=aqe.ALPHA) if aqe.ENABLED else None,
        rerank=KReciprocal(k1=own.K1, k2=own.K2, lambda_=own.LAMBDA, metric=metric)
        if own.ENABLED
        else None,
        roc=bool(cfg.TEST.ROC.ENABLED),
    )


def _fastreid_transforms(cfg: Any) -> str:
    crop = f", center_crop({list(cfg.INPUT.CROP.SIZE)})" if cfg.INPUT.CROP.ENABLED else ""
    return f"fastreid: resize({list(cfg.INPUT.SIZE_TEST)}, bicubic){crop}"
