"""A score and an image in one whole number: sorting the numbers sorts by falling score, then by
id.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..structures.arrays import FloatArray, IntArray
from ..structures.id_column import IdColumn
from ..structures.listed_ids import Ids, ListedIds

KeyArray = NDArray[np.uint64]
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


def id_order(ids: Ids) -> tuple[IntArray, NDArray[np.uint32]]:
    """Rows in the order of their ids [N] int64, and the place of every row in that order [N]
    uint32.
    """
    order = ids.order() if isinstance(ids, IdColumn) else np.argsort(np.asarray(ids), kind="stable")
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return order, place


def listed_order(ids: Ids, indices: IntArray) -> tuple[IntArray, NDArray[np.uint32]]:
    """As `id_order`, of the rows that are listed: these in the order of their ids [L] int64, and the
    place in that order of every row in `indices`, in their shape; that of -1 means nothing.
    """
    if len(ids) <= indices.size and not isinstance(ids, ListedIds):
        order, place = id_order(ids)
        return order, place[indices]
    rows = np.unique(indices[indices >= 0])
    if not len(rows):
        return np.full(1, -1), np.zeros(indices.shape, np.uint32)
    order, place = id_order(ids[rows])
    return rows[order], place[np.minimum(np.searchsorted(rows, indices), len(rows) - 1)]


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
