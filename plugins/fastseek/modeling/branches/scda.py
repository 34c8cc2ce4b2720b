"""The main thing of an image as its descriptor, without a label and without a layer to train."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ...regions.scda import scda_mask
from ...registry import BRANCHES, pick
from ..layers.precision import at_least_float

OVER = ("selected", "grid")


@BRANCHES.register()
class Scda(nn.Module):
    """Selective convolutional descriptor aggregation (Wei et al., 2017).

    The places whose channel sum is above its mean count, of these the largest connected part, see
    `regions.scda`; their mean and their maximum stand side by side. It has no weights, so a
    backbone with pretrained ones searches at once.

    Args:
        on: the map, the last convolution's in the paper.
        over: what the mean is taken over: "selected" places (the paper), or the whole "grid" with
            zeros where nothing is selected (PyRetri), which makes the mean smaller against the
            maximum.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or another `over`.

    Source: Wei et al., Selective Convolutional Descriptor Aggregation for Fine-Grained Image
        Retrieval, TIP 2017 (arXiv 1604.04994)
    Example: scda(on='s4')
    """

    def __init__(
        self, on: str = "s4", over: str = "selected", *, channels: Mapping[str, int]
    ) -> None:
        super().__init__()
        if over not in OVER:
            raise ValueError(f"over must be one of {', '.join(OVER)}, got {over!r}")
        self.on, self.over = on, over
        self.dims = {"scda": 2 * pick(channels, on, "map of the backbone")}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"scda": [B, 2 C]}; where a place counts gets no gradient."""
        whole = at_least_float(maps[self.on])
        masks = np.stack([scda_mask(one) for one in whole.detach().cpu().numpy()])
        mask = torch.from_numpy(masks).to(whole.device).unsqueeze(1)
        places = mask.sum(dim=(2, 3)) if self.over == "selected" else mask[0].numel()
        mean = (whole * mask).sum(dim=(2, 3)) / places
        outside = -torch.inf if self.over == "selected" else 0.0
        highest = torch.where(mask, whole, outside).amax(dim=(2, 3))
        return {"scda": torch.cat([mean, highest], dim=1)}
