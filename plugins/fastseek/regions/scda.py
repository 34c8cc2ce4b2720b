"""Selective convolutional descriptor aggregation (Wei et al., 2017): the main thing of an image,
without labels.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage


def scda_mask(maps: np.ndarray) -> np.ndarray:
    """Where the main thing is: the largest 4-connected part of the places whose channel sum is
    above its mean.

    Of parts of one size the first in reading order is taken. An even map has no such place: then
    all count.

    Args:
        maps: [C, h, w], the last convolution's.

    Returns:
        bool [h, w].
    """
    total = np.asarray(maps, np.float64).sum(axis=0)
    parts, count = scipy.ndimage.label(total > total.mean())
    if not count:
        return np.ones(total.shape, bool)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())


def scda(maps: np.ndarray, mask: np.ndarray | None = None, over: str = "selected") -> np.ndarray:
    """Mean and maximum over the selected places, one after the other.

    Args:
        maps: [C, h, w].
        mask: bool [h, w]; made by `scda_mask` when not given.
        over: what the mean is taken over: "selected" places (the paper), or the whole "grid" with
            zeros where nothing is selected (PyRetri), which makes the mean smaller against the
            maximum.

    Returns:
        float64 [2 * C]; not normalised.

    Raises:
        ValueError: another `over`.
    """
    if over not in ("selected", "grid"):
        raise ValueError(f"over={over!r}: expected 'selected' or 'grid'")
    mask = scda_mask(maps) if mask is None else mask
    chosen = np.asarray(maps, np.float64)[:, mask]
    if over == "selected":
        return np.concatenate([chosen.mean(axis=1), chosen.max(axis=1)])
    # Over the grid what is not selected is 0, and 0 may be the largest.
    highest = chosen.max(axis=1) if mask.all() else np.maximum(chosen.max(axis=1), 0)
    return np.concatenate([chosen.sum(axis=1) / mask.size, highest])
