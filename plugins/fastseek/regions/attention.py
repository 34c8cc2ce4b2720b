"""A feature map to one number a place: how much the network sees there."""

from __future__ import annotations

from typing import Literal

import numpy as np

# Top, left, bottom, right; bottom and right are the first places outside.
Box = tuple[int, int, int, int]


def attention(maps: np.ndarray) -> np.ndarray:
    """The mean over the channels, scaled so that the least is 0 and the largest 1; all 0 where it
    is even.

    Args:
        maps: [C, h, w], a feature map before pooling.

    Returns:
        float64 [h, w].
    """
    mean = np.asarray(maps, np.float64).mean(axis=0)
    spread = mean.max() - mean.min()
    return (mean - mean.min()) / spread if spread > 0 else np.zeros_like(mean)


def above(heat: np.ndarray, threshold: Literal["mean"] | float = "mean") -> np.ndarray:
    """Where a map [h, w] is high: above its "mean", or above this quantile; nowhere where it is
    even.

    All such places count, scattered ones too, while `scda_mask` keeps the largest connected part
    only.
    """
    heat = np.asarray(heat, np.float64)
    level = heat.mean() if threshold == "mean" else np.quantile(heat, threshold)
    return heat > level


def box_of(mask: np.ndarray) -> Box:
    """The smallest box that holds every true place of a mask [h, w], which must have one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def rescale_map(box: Box, grid: tuple[int, int], other: tuple[int, int]) -> Box:
    """The same part of the image on another grid, grown to whole places there.

    Args:
        box: on `grid`.
        grid, other: (h, w) of two maps of one image.
    """
    top, left, bottom, right = box
    (h, w), (height, width) = grid, other
    return top * height // h, left * width // w, -(-bottom * height // h), -(-right * width // w)
