"""Channels in another order."""

from __future__ import annotations

import torch
from PIL import Image

from ...registry import TRANSFORMS
from ._image_ops import ImageLike
from ._rng import happens, probability


@TRANSFORMS.register()
class ChannelShuffle:
    """Put red, green and blue in an order drawn evenly from all six (one of them the old one), with
    probability p.

    Args:
        p: how often it happens.

    Example: channel_shuffle(p=0.1)
    """

    def __init__(self, p: float = 0.1) -> None:
        self.p = probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        order = torch.randperm(3)
        if isinstance(image, torch.Tensor):
            return image[order]
        bands = image.split()
        return Image.merge("RGB", [bands[band] for band in order.tolist()])
