"""A part of a feature map to a descriptor."""

from __future__ import annotations

import numpy as np

from .attention import Box


def gem(maps: np.ndarray, box: Box | None = None, p: float = 3.0, eps: float = 1e-6) -> np.ndarray:
    """Generalised mean of a box of a map, brought to length 1: a part of an image without running
    the network again.

    Args:
        maps: [C, h, w].
        box: the part; None takes the whole map.
        p: the exponent.
        eps: values below it are raised to it.

    Returns:
        float64 [C].

    Raises:
        ValueError: the box is empty or outside the map.
    """
    top, left, bottom, right = box or (0, 0, *maps.shape[1:])
    if not (0 <= top < bottom <= maps.shape[1] and 0 <= left < right <= maps.shape[2]):
        raise ValueError(
            f"box {box} is empty or outside a map of {maps.shape[1]} x {maps.shape[2]}"
        )
    values = np.maximum(np.asarray(maps[:, top:bottom, left:right], np.float64), eps)
    pooled = np.power(values, p).mean(axis=(1, 2)) ** (1 / p)
    return pooled / np.linalg.norm(pooled)
