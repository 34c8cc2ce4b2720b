"""Which rows of a gallery are those of another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..structures.arrays import IntArray, VectorArray

ROWS = 16384  # vectors read at once
DigestArray = NDArray[np.uint64]


def digest_rows(vectors: VectorArray) -> DigestArray:
    """One number [N] for every vector, equal for equal bytes and else nearly surely another.

    It is a sum over 64 bits of the words of a vector, each times an odd factor of its own: it tells
    changes apart, and keeps nobody away who makes them on purpose.
    """
    made = np.empty(len(vectors), np.uint64)
    words = vectors.shape[1]
    factors = np.random.default_rng(0).integers(0, 1 << 63, words + 1, np.uint64) * 2 + 1
    for start in range(0, len(vectors), ROWS):
        block = np.ascontiguousarray(vectors[start : start + ROWS])
        bits = block.view(f"u{block.dtype.itemsize}").astype(np.uint64)
        sums = (bits * factors[:-1]).sum(axis=1) + np.uint64(block.dtype.itemsize)
        made[start : start + ROWS] = (sums ^ (sums >> np.uint64(32))) * factors[-1]
    return made


def match_rows(old: DigestArray, new: DigestArray) -> IntArray:
    """The row in a new gallery of every row [N] of an old one, -1 where it is gone; of equal ones
    the first is the first.
    """
    before, after = np.argsort(old, kind="stable"), np.argsort(new, kind="stable")
    mine, theirs = old[before], new[after]
    nth = np.arange(len(mine)) - np.searchsorted(mine, mine)
    spot = np.searchsorted(theirs, mine) + nth
    there = spot < len(theirs)
    there[there] = theirs[spot[there]] == mine[there]
    rows = np.full(len(old), -1, np.int64)
    rows[before[there]] = after[spot[there]]
    return rows
