"""Shift, scale and rotate."""

from __future__ import annotations

from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, sides
from ._rng import happens, probability, uniform


@TRANSFORMS.register()
class ShiftScaleRotate:
    """One affine change round the centre.

    Args:
        shift: the largest shift as a share of width and of height, drawn for each alone.
        scale: the factor is drawn from 1 - scale to 1 + scale, or from 1 + scale[0] to 1 +
            scale[1].
        rotate: the angle is drawn from -rotate to rotate degrees.
        p: how often it happens at all.
        fill: colour where the image ends, one value 0..255 or three.

    Raises:
        ValueError: a negative value, a factor of 0 and less, or a fill that is no colour.

    Source: Henkel, Efficient Large-Scale Image Retrieval with Deep Feature Orthogonality and
        Hybrid-Swin-Transformers, 2021 (arXiv 2110.03786)
    Example: shift_scale_rotate(shift=0.2, scale=0.2, rotate=10, p=0.7)
    """

    def __init__(
        self,
        shift: float = 0.0625,
        scale: float | tuple[float, float] = 0.1,
        rotate: float = 45,
        p: float = 0.5,
        fill: float | tuple[float, float, float] = 0,
    ) -> None:
        low, high = (-scale, scale) if isinstance(scale, int | float) else scale
        if shift < 0 or not -1 < low <= high or rotate < 0:
            raise ValueError(
                f"shift={shift}, scale={scale}, rotate={rotate}: expected values from 0, scale"
                " below 1 or two rising numbers above -1"
            )
        self.shift, self.scale, self.rotate, self.p = shift, (low, high), rotate, probability(p)
        self.fill = [fill] * 3 if isinstance(fill, int | float) else list(fill)
        if len(self.fill) != 3 or not all(0 <= value <= 255 for value in self.fill):
            raise ValueError(f"fill={fill!r}: expected one or three values from 0 to 255")

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        height, width = sides(image)
        shift = [
            uniform(-self.shift, self.shift) * width,
            uniform(-self.shift, self.shift) * height,
        ]
        factor = uniform(1 + self.scale[0], 1 + self.scale[1])
        angle = uniform(-self.rotate, self.rotate)
        return F.affine(
            image,
            angle=angle,
            translate=shift,
            scale=factor,
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
            fill=self.fill,
        )
