"""Random erasing."""

from __future__ import annotations

import math

import torch

from ...registry import TRANSFORMS
from .chance import happens, integer, probability, span, uniform
from .picture import Picture, painted, sides

MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_TRIES = 100


@TRANSFORMS.register()
class RandomErasing:
    """Paint over one rectangle of random size and shape (Zhong et al., 2017).

    Args:
        p: how often it happens.
        area: the rectangle's share of the photo, from and to, drawn evenly.
        aspect: its height / width, from and to, drawn evenly (not by logarithm, as in the authors' code).
        fill: "mean", the mean colour of ImageNet (0 once normalised); "random", every value drawn from 0..255; or
            three numbers 0..255.

    Raises:
        ValueError: a range that is none, or an unknown fill.
    """

    def __init__(self, p: float = 0.5, area: tuple[float, float] = (0.02, 0.4),
                 aspect: tuple[float, float] = (0.3, 1 / 0.3), fill: str | tuple[float, ...] = "mean") -> None:
        self.p = probability(p)
        self.area, self.aspect = span("area", area, 0, 1), span("aspect", aspect, 1e-3, 1e3)
        if fill not in ("mean", "random") and (isinstance(fill, str) or len(fill) != 3):
            raise ValueError(f"fill={fill!r}: expected 'mean', 'random' or three numbers")
        self.fill = fill

    def __call__(self, image: Picture) -> Picture:
        if not happens(self.p):
            return image
        height, width = sides(image)
        for _ in range(_TRIES):
            pixels, shape = uniform(*self.area) * height * width, uniform(*self.aspect)
            h, w = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
            if 0 < h < height and 0 < w < width:
                return painted(image, integer(0, height - h), integer(0, width - w), self._patch(h, w))
        return image

    def _patch(self, height: int, width: int) -> torch.Tensor:
        if self.fill == "random":
            return torch.rand(3, height, width) * 255
        colour = MEAN if self.fill == "mean" else self.fill
        return torch.tensor(colour).view(3, 1, 1).expand(3, height, width)
