"""Mirror left and right."""

from __future__ import annotations

from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike
from ._rng import happens, probability


@TRANSFORMS.register()
class Hflip:
    """Mirror the image with probability p.

    Args:
        p: how often it happens.

    Example: hflip(p=0.5)
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        return F.horizontal_flip(image) if happens(self.p) else image
