"""Cutout."""

from __future__ import annotations

import torch

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, paint, sides
from ._rng import happens, integer, probability


@TRANSFORMS.register()
class Cutout:
    """Black out one rectangle whose centre may be anywhere in the image (DeVries and Taylor, 2017).

    What lies beyond the lower or right border is cut off; at the upper and left border the
    rectangle is moved in. So does albumentations' Cutout, with which Landmark 2021 was won: with
    `share` 0.4 it has its whole size in 64 of 100 images, and 14.4 % of the pixels on average.

    Args:
        share: the rectangle's side / the image's side.
        p: how often it happens.

    Raises:
        ValueError: a share outside 0..1.

    Source: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with
        Cutout, 2017 (arXiv 1708.04552)
    Example: cutout(share=0.4, p=0.5)
    """

    def __init__(self, share: float = 0.4, p: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share={share}: expected 0 to 1")
        self.share, self.p = share, probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        height, width = sides(image)
        top, bottom = self._span(height)
        left, right = self._span(width)
        return paint(image, top, left, torch.zeros(3, bottom - top, right - left))

    def _span(self, side: int) -> tuple[int, int]:
        """Where the hole begins and ends along one side."""
        length = round(self.share * side)
        start = max(0, integer(0, side) - length // 2)
        return start, min(side, start + length)
