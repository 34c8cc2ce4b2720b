"""How much sparse encodings have in common: the sum of the smaller weights of two rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csc_array, csr_array

TOUCHED = 1 << 18  # entries looked at together: they stay in the cache


class Overlaps:
    """The overlaps of a query with named images, one query at a time."""

    def __init__(self, images: int) -> None:
        self.query = np.zeros(images)

    def add_up(
        self, asked: csr_array, row: int, encoded: csr_array, images: np.ndarray
    ) -> np.ndarray:
        """[n] for row `row` of `asked` and the rows `images` [n] of `encoded`."""
        mine = slice(asked.indptr[row], asked.indptr[row + 1])
        self.query[asked.indices[mine]] = asked.data[mine]
        counts = np.diff(encoded.indptr)[images]
        ends = np.cumsum(counts)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
            encoded.indptr[images] - ends + counts, counts
        )
        smaller = np.minimum(self.query[encoded.indices[at]], encoded.data[at])
        self.query[asked.indices[mine]] = 0
        return np.bincount(
            np.repeat(np.arange(len(images)), counts), smaller, minlength=len(images)
        )


def iterate_overlaps(asked: csr_array, inverted: csr_array) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (some queries, their overlaps [b, G] float32 with every image).

    Args:
        asked: [Q, N] the encodings of the queries.
        inverted: [N, G] those of the images, on their side: what shares no column with a query is
            not looked at.
    """
    images = inverted.shape[1]
    for first, last in _split_queries(asked, inverted):
        mine = slice(asked.indptr[first], asked.indptr[last])
        picked = inverted[asked.indices[mine]]
        lengths = np.diff(picked.indptr)
        np.minimum(picked.data, np.repeat(asked.data[mine], lengths), out=picked.data)
        # Every (query, image) becomes one number, so that one product adds up all queries at once.
        rows = np.repeat(np.arange(last - first) * images, np.diff(asked.indptr[first : last + 1]))
        picked.indices += np.repeat(rows.astype(picked.indices.dtype), lengths)
        each = csc_array(
            (picked.data, picked.indices, picked.indptr), shape=((last - first) * images, len(rows))
        )
        yield slice(first, last), (each @ np.ones(len(rows), np.float32)).reshape(-1, images)


def _split_queries(asked: csr_array, inverted: csr_array) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of runs of queries that touch and fill about TOUCHED entries."""
    entries = np.diff(inverted.indptr)[asked.indices]
    touched = np.concatenate([[0], np.cumsum(entries, dtype=np.int64)])[asked.indptr[1:]]
    filled = np.arange(asked.shape[0]) // max(1, TOUCHED // inverted.shape[1])
    stops = np.flatnonzero(np.diff(touched // TOUCHED + filled, append=-1)) + 1
    yield from zip([0, *stops], stops, strict=False)
