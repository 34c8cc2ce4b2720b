"""A recipe's list of transforms as one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image

from ...registry import TRANSFORMS, build
from ._image_ops import Picture, to_tensor


class Pipeline:
    """Transforms one after the other, ending in a float32 tensor [3, H, W] in 0..255.

    Args:
        parts: members of TRANSFORMS.
    """

    def __init__(self, parts: Sequence[Callable[[Picture], Picture]]) -> None:
        self.parts = list(parts)

    def prepared(self, image: Picture) -> Picture:
        """What the first transforms give, as long as they draw nothing."""
        for part in self.parts:
            if not getattr(part, "fixed", False):
                break
            image = part(image)
        return image

    def lend(self, photo: Callable[[int], Image.Image | None], count: int) -> None:
        """Give the training photos to the transforms that ask for others than their own."""
        for part in self.parts:
            if hasattr(part, "lend"):
                part.lend(photo, count)

    def __call__(self, image: Picture) -> torch.Tensor:
        return to_tensor(self.pictured(image))

    def pictured(self, image: Picture) -> Picture:
        """The same, but as the last transform leaves it."""
        for part in self.parts:
            image = part(image)
        return image


def compose(calls: Sequence[str]) -> Pipeline:
    """Build the transforms a recipe lists.

    Args:
        calls: call strings of TRANSFORMS, in order.

    Raises:
        UsageError: an unknown name or a value a transform refuses.
    """
    return Pipeline([build(call, TRANSFORMS) for call in calls])
