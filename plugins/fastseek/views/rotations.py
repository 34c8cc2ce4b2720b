"""The images mirrored and turned."""

from __future__ import annotations

import torch

from ..registry import VIEWS


@VIEWS.register()
class Rotations:
    """The images, their mirror images (left-right, upside down) and quarter turns (DIGIX 2020,
    second place).

    With all switches on but `half` these are the five views of the contest; half a turn is both
    mirrors together.

    Args:
        cw, ccw: the quarter turns, clockwise and the other way.
        hflip, vflip: the mirror images.
        half: half a turn.
        raw: features of all views are summed as they are, as the contest's code does, so a view
            with longer vectors counts for more; else each is brought to length 1 before.

    Source: Huawei DIGIX 2020 image retrieval, second place
        (github.com/lin-honghui/Huawei_DIGIX_ImageRetri_Top2)
    Example: rotations(half=True)
    """

    def __init__(
        self,
        cw: bool = True,
        ccw: bool = True,
        hflip: bool = True,
        vflip: bool = True,
        half: bool = False,
        raw: bool = False,
    ) -> None:
        self.cw, self.ccw, self.hflip, self.vflip, self.half, self.raw = (
            cw,
            ccw,
            hflip,
            vflip,
            half,
            raw,
        )

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, H, W] -> the given batch, and one a view; quarter turns are [B, 3, W, H]."""
        made = [images]
        if self.hflip:
            made.append(images.flip(3))
        if self.vflip:
            made.append(images.flip(2))
        turns = [turn for turn, wanted in ((-1, self.cw), (1, self.ccw), (2, self.half)) if wanted]
        return made + [torch.rot90(images, turn, (2, 3)) for turn in turns]
