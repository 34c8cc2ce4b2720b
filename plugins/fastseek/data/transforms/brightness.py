"""An image taken too dark or too bright."""

from __future__ import annotations

import torch

from ...registry import TRANSFORMS
from ._image_ops import ImageLike


@TRANSFORMS.register()
class Brightness:
    """All values times one factor, cut off at white: below 1 a dark image, above 1 an over-exposed
    one.

    Args:
        factor: 0 makes it black, 1 leaves it as it is.

    Raises:
        ValueError: it is negative.

    Example: brightness(factor=0.5)
    """

    fixed = True

    def __init__(self, factor: float) -> None:
        if factor < 0:
            raise ValueError(f"factor={factor}: expected 0 or more")
        self.factor = factor

    def __call__(self, image: ImageLike) -> ImageLike:
        if isinstance(image, torch.Tensor):
            return (image * self.factor).clamp(0, 255)
        table = [min(255, round(value * self.factor)) for value in range(256)]
        return image.point(table * len(image.getbands()))
