"""BNNeck head for fast-reid's own `Baseline`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ... import compat  # noqa: F401  (before anything that imports fastreid)
from ..layers.precision import at_least_float, full_precision
from ._neck import NeckHead

from fastreid.config import configurable
from fastreid.modeling.heads import REID_HEADS_REGISTRY


@REID_HEADS_REGISTRY.register()
class BNNeckHead(NeckHead):
    """Pooling, BatchNorm with its bias frozen at 0, linear classifier without bias (Luo et al., Bag
    of Tricks, 2019).

    WITH_BNNECK is on whatever the config says, and CLS_LAYER is not read. The classifier starts
    with deviation 0.001 and works in float32. MODEL.HEADS.NECK_FEAT tells whether metric losses see
    the feature before or after the neck.

    Args:
        options: what `from_config` gives.
    """

    @configurable
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        nn.init.normal_(self.weight, std=0.001)

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """The options a fast-reid CfgNode names."""
        return super().from_config(cfg) | {"with_bnneck": True, "cls_type": "Linear"}

    def logits(
        self, embedding: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, D] -> the scaled scores of the classes, twice: there is no margin."""
        with full_precision(embedding):
            scores = self.scale * F.linear(at_least_float(embedding), self.weight)
        return scores, scores
