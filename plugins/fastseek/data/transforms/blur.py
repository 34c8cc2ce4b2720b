"""An image out of focus."""

from __future__ import annotations

import math

from torchvision.transforms.v2.functional import gaussian_blur

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, sides


@TRANSFORMS.register()
class Blur:
    """A Gaussian blur as wide for a small image of a scene as for a large one.

    Args:
        share: its sigma as a share of the shorter side.

    Raises:
        ValueError: it is not positive, or above 0.25.

    Example: blur(share=0.02)
    """

    fixed = True

    def __init__(self, share: float = 0.02) -> None:
        if not 0 < share <= 0.25:
            raise ValueError(f"share={share}: expected more than 0, and at most 0.25")
        self.share = share

    def __call__(self, image: ImageLike) -> ImageLike:
        sigma = self.share * min(sides(image))
        # Three sigma to each side: what is beyond has no weight in 8 bits.
        size = 2 * math.ceil(3 * sigma) + 1
        return gaussian_blur(image, [size, size], [sigma, sigma])
