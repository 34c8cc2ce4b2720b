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
