"""What a transform is given: a PIL RGB image, or a float32 tensor [3, H, W] in 0..255."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

ImageLike = Image.Image | torch.Tensor


def to_tensor(image: ImageLike) -> torch.Tensor:
    """A PIL RGB image as float32 [3, H, W] in 0..255; a tensor stays what it is."""
    if isinstance(image, torch.Tensor):
        return image
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format)


def through_pil(function: Callable[[Image.Image], Image.Image], image: ImageLike) -> ImageLike:
    """Apply a function that works on 8-bit PIL images; a tensor is rounded to 8 bits, and comes
    back as one.
    """
    made = function(to_pil(image))
    return to_tensor(made) if isinstance(image, torch.Tensor) else made


def to_pil(image: ImageLike) -> Image.Image:
    """A tensor rounded to an 8-bit PIL RGB image; a PIL image stays what it is."""
    if not isinstance(image, torch.Tensor):
        return image
    pixels = image.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def sides(image: ImageLike) -> tuple[int, int]:
    """(height, width)."""
    if isinstance(image, torch.Tensor):
        return image.shape[1], image.shape[2]
    return image.height, image.width


def pair(size: int | tuple[int, int]) -> list[int]:
    """[height, width] of a side or a pair.

    Raises:
        ValueError: not one or two whole numbers above 0.
    """
    both = [size, size] if isinstance(size, int) else list(size)
    if len(both) != 2 or any(not isinstance(side, int) or side < 1 for side in both):
        raise ValueError(f"size {size}: expected a side or (height, width), whole numbers above 0")
    return both


def paint(image: ImageLike, top: int, left: int, patch: torch.Tensor) -> ImageLike:
    """A copy with a patch laid over it.

    Args:
        image: what is painted on; not changed.
        top, left: the patch's upper left pixel.
        patch: [3, h, w] in 0..255.
    """
    height, width = patch.shape[1:]
    if isinstance(image, torch.Tensor):
        copy = image.clone()
        copy[:, top : top + height, left : left + width] = patch
        return copy
    painted = image.copy()
    painted.paste(to_pil(patch), (left, top))
    return painted
