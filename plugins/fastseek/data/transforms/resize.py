"""Resize."""

from __future__ import annotations

from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from .to_tensor import Picture


@TRANSFORMS.register()
class Resize:
    """Scale to one size, with anti-aliasing.

    Args:
        size: side of a square, or (height, width).
        keep: keep the aspect ratio; `size` is then the short side.
        interpolation: "bicubic", "bilinear" or "nearest".

    Raises:
        ValueError: a size below 1, or `keep` with two sides.
    """

    def __init__(self, size: int | tuple[int, int], keep: bool = False, interpolation: str = "bicubic") -> None:
        self.size = pair(size)
        if keep:
            if not isinstance(size, int):
                raise ValueError(f"resize({size}, keep=True): keep needs one number, the short side")
            self.size = [size]
        self.interpolation = InterpolationMode(interpolation)

    def __call__(self, image: Picture) -> Picture:
        return F.resize(image, self.size, self.interpolation, antialias=True)


def pair(size: int | tuple[int, int]) -> list[int]:
    """[height, width] of a side or a pair.

    Raises:
        ValueError: not one or two whole numbers above 0.
    """
    sides = [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise ValueError(f"size {size}: expected a side or (height, width), whole numbers above 0")
    return sides
