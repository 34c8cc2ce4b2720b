"""Sub-center ArcFace with constant or dynamic margin."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES
from ..layers.margin import add_margin, margins
from ..layers.precision import full_precision
from ..layers.subcenter import centres, subcenter_cosine
from .source import of_embedding


@LOSSES.register()
class SubcenterArcface(nn.Module):
    """Cross-entropy over s * cosine, the own class handicapped by an angular margin; k centres a class.

    Works in float32 whatever the precision around it. k = 1 is ArcFace.
    Deng et al., ArcFace, 2019, and Sub-center ArcFace, 2020; dynamic margin: arXiv 2010.05350.

    Args:
        on: name of the embedding.
        k: centres a class; the nearest counts.
        s: scale of the cosines.
        margin: radians, or "dynamic(0.05, 0.50)": the low one for the largest class, the high one for the smallest.
        smoothing: label smoothing of the cross-entropy.
        weight: factor of the loss.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or an illegal margin, k or s.
    """

    def __init__(self, on: str, k: int = 3, s: float = 45.0, margin: float | str = 0.3, smoothing: float = 0.0,
                 weight: float = 1.0, *, dims: Mapping[str, int], counts: torch.Tensor) -> None:
        super().__init__()
        if not s > 0:
            raise ValueError(f"s must be positive, got {s}")
        self.on, self.k, self.s, self.smoothing, self.factor = on, k, s, smoothing, weight
        self.weight = centres(len(counts), k, of_embedding(dims, on))
        self.register_buffer("margins", margins(margin, counts), persistent=False)
        self.accuracy: torch.Tensor | None = None

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar; keeps the share of rows whose nearest class is their own in `accuracy`."""
        with full_precision(embedding):
            cosine = subcenter_cosine(embedding, self.weight, self.k)
            self.accuracy = (cosine.detach().argmax(dim=1) == targets).float().mean()
            logits = self.s * add_margin(cosine, targets, self.margins)
            return self.factor * F.cross_entropy(logits, targets, label_smoothing=self.smoothing)
