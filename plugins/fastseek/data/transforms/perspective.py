"""Seen from an angle."""

from __future__ import annotations

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, sides
from ._rng import happens, probability, span, uniform

_FURTHEST = 0.45  # of a side: the four corners never meet


@TRANSFORMS.register()
class Perspective:
    """Stretch a quadrangle inside the image to the whole image, as if it were seen from another
    angle.

    Every corner is drawn inwards by |N(0, s)| of the width and of the height, s drawn evenly from
    `scale` for the image; nothing outside the image comes into it.

    Args:
        scale: s, shares of a side, from and to.
        p: how often it happens.

    Raises:
        ValueError: a range that is none.

    Example: perspective(scale=(0.05, 0.15), p=0.1)
    """

    def __init__(self, scale: tuple[float, float] = (0.05, 0.15), p: float = 0.1) -> None:
        self.scale, self.p = span("scale", scale, 0, _FURTHEST), probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        height, width = sides(image)
        inwards = (uniform(*self.scale) * torch.randn(4, 2)).abs().clamp(max=_FURTHEST)
        moved = (inwards * torch.tensor([width - 1, height - 1])).tolist()
        corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        start = [
            [abs(x - dx), abs(y - dy)] for (x, y), (dx, dy) in zip(corners, moved, strict=True)
        ]
        return F.perspective(
            image, start, corners, interpolation=InterpolationMode.BILINEAR, fill=0
        )
