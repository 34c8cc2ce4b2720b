"""Centre crop."""

from __future__ import annotations

from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, pair


@TRANSFORMS.register()
class CenterCrop:
    """Keep the middle; an image that is smaller gets a black border.

    Args:
        size: side of a square, or (height, width).

    Example: center_crop(224)
    """

    fixed = True

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = pair(size)

    def __call__(self, image: ImageLike) -> ImageLike:
        return F.center_crop(image, self.size)
