"""JPEG compression."""

from __future__ import annotations

import functools
import io

from PIL import Image

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, through_pil
from ._rng import happens, integer, probability


@TRANSFORMS.register()
class Jpeg:
    """Compress and decompress, as images on the way through the web are.

    Args:
        low, high: the quality is drawn from low..high, whole numbers of 1..100.
        p: how often it happens.

    Raises:
        ValueError: not 1 <= low <= high <= 100.

    Example: jpeg(low=30, high=95, p=0.5)
    """

    def __init__(self, low: int = 30, high: int = 95, p: float = 0.5) -> None:
        if not 1 <= low <= high <= 100:
            raise ValueError(
                f"quality {low}..{high}: expected whole numbers, 1 <= low <= high <= 100"
            )
        self.low, self.high, self.p = low, high, probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        quality = integer(self.low, self.high)
        return through_pil(functools.partial(_compress, quality=quality), image)


def _compress(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer, formats=("JPEG",)) as read:
        return read.convert("RGB")
