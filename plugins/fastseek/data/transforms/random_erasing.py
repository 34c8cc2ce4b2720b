"""Random erasing."""

from __future__ import annotations

import math

import torch

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, paint, sides, to_tensor
from ._rng import happens, integer, probability, span, uniform

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, of values 0..1
FILLS = {
    "mean": tuple(255 * mean for mean in MEAN),
    "repo": tuple(255 * (mean + std * mean) for mean, std in zip(MEAN, STD, strict=True)),
}
DRAWN = ("random", "colour", "normal", "image")


@TRANSFORMS.register()
class RandomErasing:
    """Paint over one rectangle of random size and shape (Zhong et al., 2017).

    It works before the image is normalised; some fills are what other code writes after it.

    Args:
        p: how often it happens.
        area: the rectangle's share of the image, from and to, drawn evenly.
        aspect: its height / width, from and to.
        fill: "mean", the mean colour of ImageNet (0 once normalised); "random", every value drawn
            from 0..255; "colour", one colour so drawn; "image", the image's own mean colour; three
            numbers 0..255; and of those that others write after normalising with ImageNet's mean
            and deviation: "normal", every value drawn from N(0, 1) there, cut to 0..255 here;
            "repo", the three mean values themselves, as the ReID strong baseline does, which is not
            the mean colour.
        law: how the aspect is drawn: "uniform", as the authors' code does, which makes four of five
            rectangles of a 256 x 128 image higher than wide; "log", evenly by its logarithm, as
            torchvision does.
        tries: rectangles drawn until one fits; the image stays as it is when none does.

    Raises:
        ValueError: a range that is none, or an unknown fill or law.

    Source: Zhong et al., Random Erasing Data Augmentation, AAAI 2020 (arXiv 1708.04896)
    Example: random_erasing(p=0.5, fill='mean')
    """

    def __init__(
        self,
        p: float = 0.5,
        area: tuple[float, float] = (0.02, 0.4),
        aspect: tuple[float, float] = (0.3, 1 / 0.3),
        fill: str | tuple[float, ...] = "mean",
        law: str = "uniform",
        tries: int = 100,
    ) -> None:
        self.p = probability(p)
        self.area, self.aspect = span("area", area, 0, 1), span("aspect", aspect, 1e-3, 1e3)
        if fill not in (*FILLS, *DRAWN) and (isinstance(fill, str) or len(fill) != 3):
            raise ValueError(
                f"fill={fill!r}: expected one of {', '.join((*FILLS, *DRAWN))}, or three numbers"
            )
        if law not in ("uniform", "log") or tries < 1:
            raise ValueError(
                f"law={law!r}, tries={tries}: expected 'uniform' or 'log', and at least one try"
            )
        self.fill, self.law, self.tries = fill, law, tries

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        height, width = sides(image)
        for _ in range(self.tries):
            pixels, shape = uniform(*self.area) * height * width, self._shape()
            h, w = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
            # A rectangle of a whole side is drawn anew, as in the authors' code.
            if 0 < h < height and 0 < w < width:
                return paint(
                    image, integer(0, height - h), integer(0, width - w), self._patch(h, w, image)
                )
        return image

    def _shape(self) -> float:
        if self.law == "uniform":
            return uniform(*self.aspect)
        return math.exp(uniform(*map(math.log, self.aspect)))

    def _patch(self, height: int, width: int, image: ImageLike) -> torch.Tensor:
        if self.fill == "random":
            return torch.rand(3, height, width) * 255
        if self.fill == "normal":
            drawn = torch.randn(3, height, width) * _column(STD) + _column(MEAN)
            return (255 * drawn).clamp(0, 255)
        return self._choose_color(image).expand(3, height, width)

    def _choose_color(self, image: ImageLike) -> torch.Tensor:
        if self.fill == "colour":
            return torch.rand(3, 1, 1) * 255
        if self.fill == "image":
            return to_tensor(image).mean((1, 2), keepdim=True)
        return _column(FILLS[self.fill] if isinstance(self.fill, str) else self.fill)


def _column(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values).view(3, 1, 1)
