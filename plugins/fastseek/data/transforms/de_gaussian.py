"""Gaussian noise, then its repair."""

from __future__ import annotations

import torch
from PIL import Image

from ...registry import TRANSFORMS
from ._filters import bilateral
from ._image_ops import ImageLike, sides, through_pil, to_pil, to_tensor
from ._rng import happens, probability, span, uniform


@TRANSFORMS.register()
class DeGaussian:
    """Add Gaussian noise and repair it with the bilateral filter, so that training sees the edges
    that repair leaves.

    DIGIX 2020, second place.

    Args:
        p: how often it happens.
        sigma: standard deviation of the noise, grey values, from and to, drawn evenly.

    Raises:
        ValueError: a range that is none.

    Source: Huawei DIGIX 2020 image retrieval, second place
        (github.com/lin-honghui/Huawei_DIGIX_ImageRetri_Top2)
    Example: de_gaussian(p=0.1, sigma=(10, 50))
    """

    def __init__(self, p: float = 0.1, sigma: tuple[float, float] = (10, 50)) -> None:
        self.p, self.sigma = probability(p), span("sigma", sigma, 0, 255)

    def __call__(self, image: ImageLike) -> ImageLike:
        return through_pil(self._add_and_repair, image) if happens(self.p) else image

    def _add_and_repair(self, image: Image.Image) -> Image.Image:
        strength = uniform(*self.sigma)
        pixels = to_tensor(image) + strength * torch.randn(3, *sides(image))
        return bilateral(to_pil(pixels))
