"""Where the thing is, from the heat map of a network that was trained on labels only."""

from __future__ import annotations

import numpy as np

from .attention import box_of

WHOLE = (0.0, 0.0, 1.0, 1.0)


def foreground(
    attention: np.ndarray, threshold: float = 0.2, margin: float = 0.1, least: float = 0.1
) -> tuple[float, float, float, float]:
    """The part of an image worth looking at again: the box of high attention and a margin (DIGIX
    2020, third place).

    Args:
        attention: [h, w], 0 and above.
        threshold: places above this share of the largest value count.
        margin: share of the box's height and width that is added on every side.
        least: a box with a smaller share of the image is not believed: the whole image is kept.

    Returns:
        top, left, bottom, right as shares of height and width, inside 0..1.
    """
    mask = attention > threshold * attention.max()
    if not mask.any():
        return WHOLE
    h, w = attention.shape
    top, left, bottom, right = box_of(mask)
    # A box so small is more often a highlight than the subject.
    if (bottom - top) * (right - left) < least * h * w:
        return WHOLE
    down, across = margin * (bottom - top), margin * (right - left)
    return (
        max(0.0, (top - down) / h),
        max(0.0, (left - across) / w),
        min(1.0, (bottom + down) / h),
        min(1.0, (right + across) / w),
    )
