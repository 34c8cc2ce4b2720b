"""Salt and pepper, then its repair."""

from __future__ import annotations

import torch
from PIL import Image

from ...registry import TRANSFORMS
from ._filters import median
from ._image_ops import ImageLike, sides, through_pil, to_pil, to_tensor
from ._rng import happens, probability


@TRANSFORMS.register()
class DePepper:
    """Turn some pixels black or white and repair them with the median, so that training sees what
    repair leaves.

    DIGIX 2020, second place.

    Args:
        p: how often it happens.
        share: share of the pixels, half of them black and half white.

    Raises:
        ValueError: p or share outside 0..1.

    Source: Huawei DIGIX 2020 image retrieval, second place
        (github.com/lin-honghui/Huawei_DIGIX_ImageRetri_Top2)
    Example: de_pepper(p=0.1, share=0.1)
    """

    def __init__(self, p: float = 0.1, share: float = 0.1) -> None:
        self.p, self.share = probability(p), probability(share)

    def __call__(self, image: ImageLike) -> ImageLike:
        return through_pil(self._add_and_repair, image) if happens(self.p) else image

    def _add_and_repair(self, image: Image.Image) -> Image.Image:
        draw = torch.rand(sides(image))
        pixels = (
            to_tensor(image)
            .masked_fill(draw < self.share, 255)
            .masked_fill(draw < self.share / 2, 0)
        )
        return median(to_pil(pixels))
