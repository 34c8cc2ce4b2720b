"""Mirror top and bottom."""

from __future__ import annotations

from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike
from ._rng import happens, probability


@TRANSFORMS.register()
class Vflip:
    """Turn the image upside down as in a mirror, with probability p.

    Args:
        p: how often it happens.

    Example: vflip(p=0.5)
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        return F.vertical_flip(image) if happens(self.p) else image
