"""Grey."""

from __future__ import annotations

from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike
from ._rng import happens, probability


@TRANSFORMS.register()
class Grayscale:
    """Take the colours away with probability p; three equal channels remain.

    Args:
        p: how often it happens.

    Example: grayscale(p=0.1)
    """

    def __init__(self, p: float = 0.1) -> None:
        self.p = probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        return F.rgb_to_grayscale(image, num_output_channels=3) if happens(self.p) else image
