"""Sub-center ArcFace head for fast-reid's own `Baseline`."""

from __future__ import annotations

from typing import Any

import torch

from ... import compat  # noqa: F401  (before anything that imports fastreid)
from ...errors import UsageError
from ..layers.classes import class_counts
from ..layers.margin import add_margin, margins
from ..layers.precision import full_precision
from ..layers.subcenter import centers, subcenter_cosine
from ._neck import NeckHead

from fastreid.config import configurable
from fastreid.modeling.heads import REID_HEADS_REGISTRY


@REID_HEADS_REGISTRY.register()
class SubCenterArcFaceHead(NeckHead):
    """Cosine classifier with k centers a class and an angular margin; pair it with fast-reid's
    CrossEntropyLoss.

    Keys: SEEK.HEAD.SUBCENTERS is k; SEEK.HEAD.MARGIN a margin such as "dynamic(0.05, 0.50)" (needs
    SEEK.CLASSES), or "" to take the number MODEL.HEADS.MARGIN; MODEL.HEADS.SCALE is s. CLS_LAYER is
    not read.
    Deng et al., Sub-center ArcFace, 2020; dynamic margin: arXiv 2010.05350.

    Args:
        k: centers a class.
        spec: the margin in radians, or "dynamic(low, high)".
        counts: int64 [C], training images of every class.
        options: what fast-reid's own `from_config` gives.

    Raises:
        UsageError: an illegal k or margin.
    """

    weight: torch.Tensor
    margins: torch.Tensor

    @configurable
    def __init__(self, *, k: int, spec: float | str, counts: torch.Tensor, **options: Any) -> None:
        super().__init__(**options)
        self.k = k
        try:
            self.weight = centers(len(counts), k, self.weight.shape[1])
            table = margins(spec, counts) if len(counts) else torch.zeros(0)
        except ValueError as error:
            raise UsageError(f"SEEK.HEAD: {error}") from error
        self.register_buffer("margins", table, persistent=False)

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """The options a fast-reid CfgNode with our keys names."""
        counts = class_counts(cfg.SEEK.CLASSES, cfg.MODEL.HEADS.NUM_CLASSES)
        counts = torch.zeros(0, dtype=torch.int64) if counts is None else counts
        return super().from_config(cfg) | {
            "k": cfg.SEEK.HEAD.SUBCENTERS,
            "spec": cfg.SEEK.HEAD.MARGIN or float(cfg.MODEL.HEADS.MARGIN),
            "counts": counts,
            "num_classes": len(counts),
            "cls_type": "Linear",
        }

    def logits(
        self, embedding: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, D] and int64 [B] -> s * cosine with the margin at the target, and without, both
        float32 [B, C].
        """
        with full_precision(embedding):
            cosine = subcenter_cosine(embedding, self.weight, self.k)
            return self.scale * add_margin(cosine, targets, self.margins), self.scale * cosine
