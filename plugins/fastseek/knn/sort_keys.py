"""A score and an image in one whole number: sorting the numbers sorts by falling score, then by
id.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..structures.arrays import FloatArray, IntArray, StringArray

KeyArray = NDArray[np.uint64]
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


def id_order(ids: StringArray) -> tuple[IntArray, NDArray[np.uint32]]:
    """Rows in the order of their ids [N] int64, and the place of every row in that order [N]
    uint32.
    """
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return order, place


def sort_keys(scores: FloatArray, place: np.ndarray) -> KeyArray:
    """One rising uint64 a pair: the float32 score falling in the upper half, the place of the id
    below.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 and 0.0 one number
    # The bits of floats sort as the numbers do once those of negative ones are turned round.
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))
    # Inverted, because the best score must come first while ids rise.
    keys: KeyArray = ((~rising).astype(np.uint64) << np.uint64(32)) | place
    return keys


def places_of(keys: KeyArray) -> IntArray:
    """The places of the ids within keys, int64."""
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def scores_of(keys: KeyArray) -> FloatArray:
    """The scores within keys; -inf for an empty one."""
    rising = ~(keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(rising >> 31, rising & np.uint32(0x7FFFFFFF), ~rising)
    scores = bits.view(np.float32)
    return np.where(keys == EMPTY, np.float32(-np.inf), scores)
