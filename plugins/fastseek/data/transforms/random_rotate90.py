"""A quarter turn."""

from __future__ import annotations

import torch
from PIL import Image

from ...registry import TRANSFORMS
from ._image_ops import ImageLike
from ._rng import happens, probability


@TRANSFORMS.register()
class RandomRotate90:
    """Turn the image by 90 degrees with probability p, half the times clockwise, half the times the
    other way.

    Height and width change places, so images of one batch should be square before.

    Args:
        p: how often it happens.

    Example: random_rotate90(p=0.5)
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        clockwise = happens(0.5)
        if isinstance(image, torch.Tensor):
            return torch.rot90(image, -1 if clockwise else 1, (1, 2))
        return image.transpose(
            Image.Transpose.ROTATE_270 if clockwise else Image.Transpose.ROTATE_90
        )
