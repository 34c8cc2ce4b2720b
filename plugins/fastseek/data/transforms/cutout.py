"""Cutout."""

from __future__ import annotations

import torch

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, paint, sides
from ._rng import happens, integer, probability


@TRANSFORMS.register()
class Cutout:
    """Black out one rectangle, as large a share of height and width, anywhere inside the image.

    (DeVries and Taylor, 2017, let it lie half outside; here its size is always the same.)

    Args:
        share: the rectangle's side / the image's side.
        p: how often it happens.

    Raises:
        ValueError: a share outside 0..1.
    """

    def __init__(self, share: float = 0.4, p: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share={share}: expected 0 to 1")
        self.share, self.p = share, probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        height, width = sides(image)
        hole = round(self.share * height), round(self.share * width)
        top, left = integer(0, height - hole[0]), integer(0, width - hole[1])
        return paint(image, top, left, torch.zeros(3, *hole))
