"""What our heads share: fast-reid's pooling and neck by its own config keys, with GeM in
float32.
"""

from __future__ import annotations

from typing import Any

import torch

from ... import compat  # noqa: F401  (before anything that imports fastreid)
from ...errors import UsageError
from ..layers.classes import UNKNOWN
from ..layers.gem import Gem
from ..layers.trainer_contract import TrainerContract

from fastreid.modeling.heads import EmbeddingHead

GEM = {"GeneralizedMeanPooling": False, "GeneralizedMeanPoolingP": True}


class NeckHead(EmbeddingHead):
    """fast-reid's EmbeddingHead up to the neck; a child adds the classifier in `logits`.

    Honours MODEL.HEADS.POOL_LAYER, EMBEDDING_DIM, WITH_BNNECK, NORM, NECK_FEAT, NUM_CLASSES and
    SCALE. In evaluation it returns the feature behind the neck, [B, D]. In training it returns what
    fast-reid's `Baseline` wants: "cls_outputs" (logits with margin), "pred_class_logits" (without),
    both float32 [B, C], and "features" [B, D].

    Args:
        options: what `EmbeddingHead.from_config` gives.

    Raises:
        UsageError: an unknown NECK_FEAT; in training, no classes, or a trainer that passes over
            what the recipe asks for.
    """

    def __init__(self, *, contract: TrainerContract, **options: Any) -> None:
        super().__init__(**options)
        self.contract = contract
        if options["neck_feat"] not in ("before", "after"):
            raise UsageError(
                f"MODEL.HEADS.NECK_FEAT must be 'before' or 'after', got {options['neck_feat']!r}"
            )
        if options["pool_type"] in GEM:
            self.pool_layer = GemMap(trainable=GEM[options["pool_type"]])
        self.classes, self.scale = options["num_classes"], float(options["scale"])

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """The options a fast-reid CfgNode with our keys names."""
        return super().from_config(cfg) | {"contract": TrainerContract(cfg)}

    def forward(self, features: torch.Tensor, targets: torch.Tensor | None = None) -> Any:
        """Maps [B, C, h, w] to [B, D] in evaluation, to a dict in training."""
        before = self.pool_layer(features)
        after = self.bottleneck(before).flatten(1)
        if not self.training:
            return after
        if not self.classes or targets is None:
            raise UsageError(UNKNOWN)
        if torch.is_grad_enabled():
            self.contract.check_training(self)
        with_margin, plain = self.logits(after, targets)
        chosen = before.flatten(1) if self.neck_feat == "before" else after
        return {"cls_outputs": with_margin, "pred_class_logits": plain, "features": chosen}

    def logits(
        self, embedding: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, D] and int64 [B] -> logits for the loss and logits for the accuracy, both float32 [B,
        C].
        """
        raise NotImplementedError


class GemMap(Gem):
    """GeM that leaves a map of one position, as fast-reid's poolings do."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, C, 1, 1]."""
        return super().forward(maps)[..., None, None]
