"""The end of every list of transforms, and the list itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ...registry import TRANSFORMS, build

Picture = Image.Image | torch.Tensor


def to_tensor(image: Picture) -> torch.Tensor:
    """A PIL RGB image as float32 [3, H, W] in 0..255; a tensor stays what it is."""
    if isinstance(image, torch.Tensor):
        return image
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)


class Compose:
    """Transforms one after the other, ending in a tensor.

    Args:
        parts: members of TRANSFORMS.
    """

    def __init__(self, parts: Sequence) -> None:
        self.parts = list(parts)

    def __call__(self, image: Picture) -> torch.Tensor:
        for part in self.parts:
            image = part(image)
        return to_tensor(image)


def compose(calls: Sequence[str]) -> Compose:
    """Build the transforms a recipe lists.

    Args:
        calls: call strings of TRANSFORMS, in order.

    Raises:
        UsageError: an unknown name or a value a transform refuses.
    """
    return Compose([build(call, TRANSFORMS) for call in calls])
