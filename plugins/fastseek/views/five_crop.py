"""The whole image, its corners and its middle."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..registry import VIEWS


@VIEWS.register()
class FiveCrop:
    """The images, then their four corners and their middle; with `hflip` and `scale` beside it, all
    combinations.

    Args:
        share: a crop's share of height and of width.
        resize: scale the crops to the size of the images, bilinearly; else they stay smaller.

    Raises:
        ValueError: a share that is not between 0 and 1.

    Source: Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural
        Networks, NeurIPS 2012
    Example: five_crop(share=0.875)
    """

    def __init__(self, share: float = 0.875, resize: bool = False) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share={share}: expected a number above 0, at most 1")
        self.share, self.resize = share, resize

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, H, W] -> the given batch, then upper left, upper right, lower left, lower right
        and middle.
        """
        height, width = images.shape[2:]
        h, w = max(1, round(self.share * height)), max(1, round(self.share * width))
        bottom, right = height - h, width - w
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
        crops = [images[:, :, top : top + h, left : left + w] for top, left in corners]
        if self.resize:
            crops = [
                F.interpolate(crop, (height, width), mode="bilinear", align_corners=False)
                for crop in crops
            ]
        return [images, *crops]
