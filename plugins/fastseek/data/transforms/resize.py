"""Resize."""

from __future__ import annotations

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, pair, sides
from ._scaling import MODES, scale_image


@TRANSFORMS.register()
class Resize:
    """Scale to one size, with anti-aliasing.

    Args:
        size: side of a square, or (height, width).
        keep: keep the aspect ratio; `size` is then the short side.
        interpolation: "bicubic" or "bilinear".

    Raises:
        ValueError: a size below 1, `keep` with two sides, or an unknown interpolation.

    Example: resize(256, keep=True)
    """

    fixed = True
    argument_hints = {"keep": "height and width are one pair, such as resize((96, 64))"}

    def __init__(
        self, size: int | tuple[int, int], keep: bool = False, interpolation: str = "bicubic"
    ) -> None:
        if keep and not isinstance(size, int):
            raise ValueError(f"size {size} with keep=True: expected one number, the short side")
        if interpolation not in MODES:
            raise ValueError(f"interpolation={interpolation!r}: expected one of {', '.join(MODES)}")
        self.size, self.keep, self.interpolation = pair(size), keep, interpolation

    def __call__(self, image: ImageLike) -> ImageLike:
        size = self.size
        if self.keep:
            now = sides(image)
            size = [self.size[0] * side // min(now) for side in now]
        return (
            image if sides(image) == tuple(size) else scale_image(image, size, self.interpolation)
        )
