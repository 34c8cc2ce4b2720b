"""Crop where the network looked in the epoch before."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image
from torchvision.transforms.v2 import functional as F

from ...regions.attention import STRENGTHS
from ...registry import TRANSFORMS
from ._image_ops import ImageLike, pair, sides
from ._rng import happens, probability, span
from ._scaling import scale_image
from .random_resized_crop import RandomResizedCrop


@TRANSFORMS.register()
class AttendedCrop:
    """A random part of the image that holds much of what the network looked at, scaled to one size.

    Attention-region random crop (Sorghum-100 2022, second place): after an epoch the trainer looks
    at every training image, marks where the map is high, draws `tries` windows of one random size,
    and takes the one with the most marks for the epochs that follow. In the first epoch, and for a
    image that could not be looked at, it is a plain random crop of the same sizes. It must be the
    first of SEEK.TRAIN; only a `resize` may stand before it. The source does not tell its
    threshold, sizes and number of tries.

    Args:
        size: side of a square, or (height, width).
        area: the window's share of the image, from and to.
        aspect: its width / height, from and to.
        tries: windows drawn; many make the crop less random.
        every: epochs between two looks; a look costs about a third of an epoch.
        p: how often the chosen window is taken instead of a plain random crop.
        threshold: places above the "mean" of the map count, or above this quantile, from 0 to 1.
        on: the map that is looked at, such as "s4"; "" takes the last of the backbone.
        look: the size images are looked at, whole; None takes `size`.
        by: what counts of the channels, their "sum" or their "norm", see
            `regions.attention.strength`.

    Raises:
        ValueError: a value outside its range.

    Source: Sorghum-100 Cultivar Identification (FGVC9), second place
    Example: attended_crop(size=224, tries=10)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        area: tuple[float, float] = (0.4, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        tries: int = 10,
        every: int = 1,
        p: float = 1.0,
        threshold: str | float = "mean",
        on: str = "",
        look: int | tuple[int, int] | None = None,
        by: str = "sum",
    ) -> None:
        if by not in STRENGTHS:
            raise ValueError(f"by must be one of {', '.join(STRENGTHS)}, got {by!r}")
        if tries < 1 or every < 1:
            raise ValueError(f"tries={tries}, every={every}: expected whole numbers of 1 or more")
        if threshold != "mean" and (isinstance(threshold, str) or not 0 <= threshold < 1):
            raise ValueError(f"threshold={threshold!r}: expected 'mean' or a quantile from 0 to 1")
        self.size, self.look = pair(size), pair(size if look is None else look)
        self.area, self.aspect = span("area", area, 1e-6, 1), span("aspect", aspect, 1e-3, 1e3)
        self.tries, self.every, self.p, self.threshold, self.on = (
            tries,
            every,
            probability(p),
            threshold,
            on,
        )
        self.by = by
        self.plain = RandomResizedCrop(size, self.area, self.aspect)
        self.windows: np.ndarray | None = (
            None  # float32 [N, 4], shares left, top, right, bottom; NaN for no window
        )

    def __call__(self, image: ImageLike) -> ImageLike:
        window = self._window(image)
        if window is None or not happens(self.p):
            return self.plain(image)
        height, width = sides(image)
        left, top = min(int(window[0] * width), width - 1), min(int(window[1] * height), height - 1)
        right, bottom = (
            min(math.ceil(window[2] * width), width),
            min(math.ceil(window[3] * height), height),
        )
        return scale_image(
            # A window may be narrower than a pixel.
            F.crop(image, top, left, max(bottom - top, 1), max(right - left, 1)),
            self.size,
        )

    def _window(self, image: ImageLike) -> np.ndarray | None:
        """Of the image's row among the training images, which the loader tells."""
        row = image.info.get("row") if isinstance(image, Image.Image) else None
        if self.windows is None or row is None or np.isnan(self.windows[row, 0]):
            return None
        return self.windows[row]
