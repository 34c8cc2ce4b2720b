"""Pad and crop back."""

from __future__ import annotations

from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, sides
from ._rng import integer


@TRANSFORMS.register()
class PadCrop:
    """Pad every side and cut out a random part of the old size, which shifts the image by up to
    `pad` pixels.

    Args:
        pad: pixels a side.
        mode: "constant" (black), "edge", "reflect" or "symmetric".

    Raises:
        ValueError: a negative `pad` or an unknown mode.

    Source: Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPRW
        2019 (arXiv 1903.07071)
    Example: pad_crop(pad=10)
    """

    def __init__(self, pad: int = 10, mode: str = "constant") -> None:
        if (
            not isinstance(pad, int)
            or pad < 0
            or mode not in ("constant", "edge", "reflect", "symmetric")
        ):
            raise ValueError(
                f"pad={pad}, mode={mode!r}: expected pixels and constant, edge, reflect or"
                " symmetric"
            )
        self.pad, self.mode = pad, mode

    def __call__(self, image: ImageLike) -> ImageLike:
        height, width = sides(image)
        padded = F.pad(image, [self.pad], fill=0, padding_mode=self.mode)
        return F.crop(padded, integer(0, 2 * self.pad), integer(0, 2 * self.pad), height, width)
