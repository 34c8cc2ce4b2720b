"""Vectors as the signs of their numbers: one bit a number, compared by how many differ."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

WORD = 64  # bits that are compared at once
PAIRS = 1 << 22  # pairs of a block: 32 MB of keys


def pack_signs(vectors: np.ndarray) -> np.ndarray:
    """[N, D] numbers as uint64 [N, ceil(D / 64)]: a bit is 1 where the number is above 0."""
    bits = np.packbits(vectors > 0, axis=1)
    padded = np.zeros((len(vectors), -(-bits.shape[1] * 8 // WORD) * 8), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return padded.view(np.uint64)


def count_differences(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """uint16 [Q, N], in how many bits packed vectors differ (the Hamming distance)."""
    total = np.zeros((len(queries), len(gallery)), np.uint16)
    for mine, theirs in zip(queries.T, gallery.T, strict=True):
        total += np.bitwise_count(mine[:, None] ^ theirs)
    return total


def nearest_by_signs(queries: np.ndarray, gallery: np.ndarray, k: int) -> np.ndarray:
    """int64 [Q, min(k, N)], the rows of the gallery that differ least; equal ones by their row.

    Args:
        queries, gallery: packed by `pack_signs`.
        k: how many.
    """
    depth = min(k, len(gallery))
    best = np.empty((len(queries), 0), np.int64)
    for start, block in _blocks(gallery, max(1, PAIRS // max(1, len(queries)))):
        rows = np.arange(start, start + len(block))
        # One number orders both: the distance above, the row below.
        keys = (count_differences(queries, block).astype(np.int64) << 40) | rows
        best = np.concatenate([best, keys], axis=1)
        if best.shape[1] > depth:
            best = np.partition(best, depth - 1, axis=1)[:, :depth]
    best.sort(axis=1)
    return best & ((1 << 40) - 1)


def _blocks(gallery: np.ndarray, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(gallery), rows):
        yield start, gallery[start : start + rows]
