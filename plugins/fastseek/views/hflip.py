"""The mirror image as a second view."""

from __future__ import annotations

import torch

from ..registry import VIEWS


@VIEWS.register()
class Hflip:
    """The images and their mirror images, left and right exchanged.

    Example: hflip()
    """

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, H, W] -> two of the same shape."""
        return [images, images.flip(-1)]
