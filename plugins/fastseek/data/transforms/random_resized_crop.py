"""Crop a random part and scale it."""

from __future__ import annotations

from torchvision.transforms import RandomResizedCrop as Torchvision
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, pair
from ._rng import span
from ._scaling import scale_image


@TRANSFORMS.register()
class RandomResizedCrop:
    """A random part of the image, scaled to one size (Szegedy et al., 2015).

    Args:
        size: side of a square, or (height, width).
        scale: the part's share of the area, from and to.
        ratio: its width / height, from and to.

    Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015 (arXiv 1409.4842)
    Example: random_resized_crop(224, scale=(0.5, 1.0))
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size = pair(size)
        self.scale, self.ratio = span("scale", scale, 1e-6, 1), span("ratio", ratio, 1e-3, 1e3)

    def __call__(self, image: ImageLike) -> ImageLike:
        part = Torchvision.get_params(image, list(self.scale), list(self.ratio))
        return scale_image(F.crop(image, *part), self.size)
