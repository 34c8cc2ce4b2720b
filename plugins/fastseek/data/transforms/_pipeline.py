"""A recipe's list of transforms as one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image

from ...registry import TRANSFORMS, BorrowingTransform, FixedTransform, Transform, build
from ._image_ops import ImageLike, to_tensor


class Pipeline:
    """Transforms one after the other, ending in a float32 tensor [3, H, W] in 0..255.

    Args:
        parts: members of TRANSFORMS.
    """

    def __init__(self, parts: Sequence[Transform]) -> None:
        self.parts = list(parts)

    def __call__(self, image: ImageLike) -> torch.Tensor:
        return to_tensor(self.apply(image))

    def apply(self, image: ImageLike) -> ImageLike:
        """The image as the last transform leaves it, a PIL image or a tensor."""
        for part in self.parts:
            image = part(image)
        return image

    def apply_fixed(self, image: ImageLike) -> ImageLike:
        """The image as the first transforms leave it, as long as they draw nothing."""
        for part in self.parts[: count_fixed(self.parts)]:
            image = part(image)
        return image

    def lend(self, read: Callable[[int], Image.Image | None], count: int) -> None:
        """Give the training images to the transforms that look at others than their own."""
        for part in self.parts:
            if isinstance(part, BorrowingTransform):
                part.lend(read, count)


def compose(calls: Sequence[str]) -> Pipeline:
    """Build the transforms a recipe lists.

    Args:
        calls: call strings of TRANSFORMS, in order.

    Raises:
        UsageError: an unknown name or a value a transform refuses.
    """
    return Pipeline([build(call, TRANSFORMS) for call in calls])


def count_fixed(parts: Sequence[Transform]) -> int:
    """How many of the first transforms draw nothing, so that they could be applied once."""
    for number, part in enumerate(parts):
        if not (isinstance(part, FixedTransform) and part.fixed):
            return number
    return len(parts)
