"""A feature map to one number a place: how much the network sees there."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np

STRENGTHS = ("sum", "norm")
SIGNED = 0.25  # share of negative values from which on sums over channels mislead
# Top, left, bottom, right; bottom and right are the first places outside.
Box = tuple[int, int, int, int]
Map = TypeVar("Map", bound=Any)


def attention(maps: np.ndarray, by: str = "sum") -> np.ndarray:
    """What `strength` says, scaled so that the least is 0 and the largest 1; all 0 where it is
    even.

    Args:
        maps: [C, h, w], a feature map before pooling.
        by: see `strength`.

    Returns:
        float64 [h, w].
    """
    maps = np.asarray(maps, np.float64)
    heat = maps.mean(axis=0) if by == "sum" else strength(maps, by)
    spread = heat.max() - heat.min()
    return (heat - heat.min()) / spread if spread > 0 else np.zeros_like(heat)


def strength(maps: Map, by: str = "sum") -> Map:
    """One number a place of feature maps [..., C, h, w], as an array or tensor [..., h, w].

    Args:
        maps: before pooling.
        by: "sum" of the channels, which says how much there is where no value is negative, as
            behind a ReLU; or their "norm". Where about half of the values are negative, as behind
            the linear bottleneck of a MobileNet, sums cancel what is there, and the norm does not.

    Raises:
        ValueError: another way.
    """
    if by not in STRENGTHS:
        raise ValueError(f"by must be one of {', '.join(STRENGTHS)}, got {by!r}")
    return maps.sum(-3) if by == "sum" else (maps * maps).sum(-3) ** 0.5


def fit_strength(maps: np.ndarray) -> str:
    """What counts of the channels of a feature map: "norm" where so many values are negative that
    sums cancel, else "sum"; see `strength`.
    """
    return "norm" if np.mean(np.asarray(maps) < 0) > SIGNED else "sum"


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
