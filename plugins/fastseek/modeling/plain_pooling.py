"""A network without a head: what training is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .seeker import Seeker


class PlainPooling(nn.Module):
    """The deepest map of a Seeker's backbone, averaged over its places.

    A head that was never trained hides what the pretrained network knows already.

    Args:
        seeker: keeps its backbone and its preprocessing.
    """

    def __init__(self, seeker: Seeker) -> None:
        super().__init__()
        self.backbone, self.preprocess = seeker.backbone, seeker.preprocess
        self.deepest = max(self.backbone.channels)

    def forward(self, batch: Mapping[str, Any] | torch.Tensor) -> torch.Tensor:
        """A batch dict, or its images [B, 3, H, W] of 0..255, to float32 [B, C]."""
        images = batch if isinstance(batch, torch.Tensor) else batch["images"]
        maps: torch.Tensor = self.backbone(self.preprocess(images))[self.deepest]
        return maps.float().mean(dim=(2, 3))
