"""Scaling with anti-aliasing, shared by the transforms that change the size."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from ._image_ops import ImageLike

MODES = ("bicubic", "bilinear")


def scale_image(image: ImageLike, size: list[int], mode: str = "bicubic") -> ImageLike:
    """The image at [height, width].

    A PIL image goes through torch's 8-bit kernel, which is as exact as PIL's own filter and more
    than twice as fast; the two differ by one grey value in a few pixels of a thousand.
    """
    if isinstance(image, torch.Tensor):
        return functional.interpolate(image[None], size, mode=mode, antialias=True)[0].clamp(0, 255)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    result = functional.interpolate(pixels, size, mode=mode, antialias=True)[0]
    return Image.fromarray(result.permute(1, 2, 0).contiguous().numpy())
