"""Resize."""

from __future__ import annotations

from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from .picture import Picture, in_range, pair


@TRANSFORMS.register()
class Resize:
    """Scale to one size, with anti-aliasing.

    Args:
        size: side of a square, or (height, width).
        keep: keep the aspect ratio; `size` is then the short side.
        interpolation: "bicubic", "bilinear" or "nearest".

    Raises:
        ValueError: a size below 1, `keep` with two sides, or an unknown interpolation.
    """

    def __init__(self, size: int | tuple[int, int], keep: bool = False, interpolation: str = "bicubic") -> None:
        if keep and not isinstance(size, int):
            raise ValueError(f"size {size} with keep=True: expected one number, the short side")
        self.size = pair(size)[:1] if keep else pair(size)
        self.interpolation = InterpolationMode(interpolation)

    def __call__(self, image: Picture) -> Picture:
        return in_range(F.resize(image, self.size, self.interpolation, antialias=True))
