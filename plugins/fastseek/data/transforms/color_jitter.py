"""Colour jitter."""

from __future__ import annotations

import torch
from torchvision.transforms.v2 import ColorJitter as Torchvision

from ...registry import TRANSFORMS
from ._image_ops import ImageLike
from ._rng import happens, probability


@TRANSFORMS.register()
class ColorJitter:
    """Change brightness, contrast, saturation and hue by chance, in an order by chance.

    Args:
        brightness, contrast, saturation: the factor is drawn from max(0, 1 - value) to 1 + value.
        hue: the shift is drawn from -hue to hue, turns of the colour circle, at most 0.5.
        p: how often it happens.

    Raises:
        ValueError: a value outside.

    Example: color_jitter(brightness=0.2, contrast=0.2, p=0.5)
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        p: float = 1.0,
    ) -> None:
        self.p = probability(p)
        self.jitter = Torchvision(brightness, contrast, saturation, hue)

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        if isinstance(image, torch.Tensor):  # torchvision takes the largest float value to be 1
            return self.jitter(image / 255) * 255
        return self.jitter(image)
