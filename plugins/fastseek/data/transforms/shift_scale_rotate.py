"""Shift, scale and rotate."""

from __future__ import annotations

from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from .chance import happens, probability, uniform
from .picture import Picture, sides


@TRANSFORMS.register()
class ShiftScaleRotate:
    """One affine change round the centre, black where the photo ends.

    Args:
        shift: the largest shift as a share of width and of height, drawn for each alone.
        scale: the factor is drawn from 1 - scale to 1 + scale.
        rotate: the angle is drawn from -rotate to rotate degrees.
        p: how often it happens at all.

    Raises:
        ValueError: a negative value, or a scale of 1 and more.
    """

    def __init__(self, shift: float = 0.0625, scale: float = 0.1, rotate: float = 45, p: float = 0.5) -> None:
        if shift < 0 or not 0 <= scale < 1 or rotate < 0:
            raise ValueError(f"shift={shift}, scale={scale}, rotate={rotate}: expected values from 0, scale below 1")
        self.shift, self.scale, self.rotate, self.p = shift, scale, rotate, probability(p)

    def __call__(self, image: Picture) -> Picture:
        if not happens(self.p):
            return image
        height, width = sides(image)
        shift = [uniform(-self.shift, self.shift) * width, uniform(-self.shift, self.shift) * height]
        factor = uniform(1 - self.scale, 1 + self.scale)
        angle = uniform(-self.rotate, self.rotate)
        return F.affine(image, angle=angle, translate=shift, scale=factor, shear=[0.0, 0.0],
                        interpolation=InterpolationMode.BILINEAR, fill=0)
