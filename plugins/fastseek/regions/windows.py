"""Random crops that look where the network looks (Sorghum-100 2022, second place)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Window = tuple[float, float, float, float]  # top, left, bottom, right as shares of height and width


def attended_window(
    mask: np.ndarray,
    random: np.random.Generator,
    tries: int = 10,
    area: tuple[float, float] = (0.4, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    shape: float = 1.0,
) -> Window:
    """One size is drawn, and of `tries` random places for it the one that holds most of the mask.

    Of equal ones the first is taken, so that with an empty mask the window is as random as with one
    try. More tries make it less random: about ten are meant.

    Args:
        mask: bool [h, w]: where attention is high; its grid may be coarser than the image.
        random: drawn from.
        tries: places.
        area: the window's share of the image, from and to, drawn evenly.
        aspect: its width / height in pixels, from and to, drawn evenly by logarithm.
        shape: width / height of the image.
    """
    if tries < 1:
        raise ValueError(f"tries={tries}: expected at least one")
    part = random.uniform(*area)
    ratio = math.exp(random.uniform(math.log(aspect[0]), math.log(aspect[1]))) / shape
    height, width = min(1.0, math.sqrt(part / ratio)), min(1.0, math.sqrt(part * ratio))
    places = random.uniform(size=(tries, 2)) * [1 - height, 1 - width]
    windows = [
        (top, left, min(1.0, top + height), min(1.0, left + width)) for top, left in places.tolist()
    ]
    return windows[int(np.argmax(np.round(hold_window(mask, windows), 9)))]


def hold_window(mask: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """How much of a mask's places every window holds, parts of places included, float64 [N].

    The sum of a window is four values of the integral image, linear between its places.

    Args:
        mask: [h, w], bool or weights.
        windows: shares of height and width.
    """
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    table[1:, 1:] = np.asarray(mask, np.float64).cumsum(axis=0).cumsum(axis=1)
    top, left, bottom, right = (np.asarray(windows, np.float64) * np.tile(mask.shape, 2)).T
    return (
        _at(table, bottom, right)
        - _at(table, top, right)
        - _at(table, bottom, left)
        + _at(table, top, left)
    )


def _at(table: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    row = np.minimum(y.astype(np.int64), table.shape[0] - 2)
    column = np.minimum(x.astype(np.int64), table.shape[1] - 2)
    down, across = y - row, x - column
    upper = table[row, column] * (1 - across) + table[row, column + 1] * across
    lower = table[row + 1, column] * (1 - across) + table[row + 1, column + 1] * across
    return upper * (1 - down) + lower * down
