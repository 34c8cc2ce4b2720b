"""Exact nearest neighbours in bounded memory: the one kernel under search, re-ranking and query expansion.

A float32 matrix product proposes, block by block, every pair that rounding could put among the best k; each proposed
pair is then scored again in float64. So scores depend on their two vectors alone, not on block size, order of rows or
BLAS, equal vectors get equal scores, and ties can be settled by id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .errors import DataError
from .progress import progress
from .structures import Embeddings

METRICS = ("cosine", "ip", "l2")
GALLERY_ROWS = 32768
CELLS = 1 << 24  # similarities held at once: 64 MB
PAIR_CELLS = 1 << 18  # numbers gathered at once when pairs are scored: they stay in the cache
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


class Neighbours(NamedTuple):
    """The answer of `nearest`.

    `rows` [Q, K] int64 gallery rows, best first; `scores` [Q, K] float32, larger is better; `lowest` [Q] float32,
    the score of the farthest gallery row.
    """

    rows: np.ndarray
    scores: np.ndarray
    lowest: np.ndarray


def nearest(queries: Embeddings, gallery: Embeddings, k: int, metric: str = "cosine",
            gallery_rows: int = GALLERY_ROWS) -> Neighbours:
    """Find the k best gallery rows of every query; equal scores stand in the order of their ids.

    Args:
        queries, gallery: of one dimension D; never loaded whole, never changed.
        k: how many; all of the gallery when it is smaller.
        metric: "cosine", "ip" (inner product) or "l2" (minus the squared Euclidean distance).
        gallery_rows: rows of the gallery held at once.

    Raises:
        DataError: a vector is not finite, or is zero and so has no cosine; names its id.
    """
    depth = min(k, len(gallery))
    keys = np.full((len(queries), depth), EMPTY, np.uint64)
    lowest = np.full(len(queries), np.inf, np.float32)
    order, place = id_order(gallery.ids)
    for mine, q, theirs, g in _block_pairs(queries, gallery, metric, gallery_rows):
        keys[mine] = _merge(keys[mine], q, g, place[theirs], metric, lowest[mine])
    scores = scores_of(keys)
    return Neighbours(order[places_of(keys)] if depth else np.empty(keys.shape, np.int64), scores, lowest)


def id_order(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of their ids [N] int64, and the place of every row in that order [N] uint32."""
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return order, place


def together(queries: Embeddings, gallery: Embeddings, metric: str) -> Embeddings:
    """Queries, then gallery, as one in memory, float32, under ids "q/…" and "g/…"; unit vectors for "cosine".

    Raises:
        DataError: a vector is not finite, or is zero and so has no cosine; names its id.
    """
    ids = [f"{side}/{name}" for side, part in (("q", queries), ("g", gallery)) for name in part.ids]
    vectors = np.empty((len(ids), queries.dim), np.float32)
    for part, first in ((queries, 0), (gallery, len(queries))):
        for here, block in blocks(part, metric, GALLERY_ROWS):
            vectors[first + here.start:first + here.stop] = block
    return Embeddings(ids, vectors)


def blocks(embeddings: Embeddings, metric: str, rows: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (slice, float32 copy of those vectors); for "cosine" of length 1.

    Raises:
        DataError: a vector is not finite, or is zero and so has no cosine; names its id.
    """
    for start, block in embeddings.blocks(rows):
        if metric == "cosine":
            block, zero = _unit(block)
            if zero.any():
                name = str(embeddings.ids[start + int(zero.argmax())])
                raise DataError(f"the vector of {name!r} is zero, so it has no cosine: embed it again or leave it out")
        yield slice(start, start + len(block)), block


def _unit(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors with length 1, and which of them have none; squares beyond float32 are taken in float64."""
    with np.errstate(over="ignore"):
        squares = np.vecdot(block, block)
    odd = ~((squares > 1e-30) & (squares < 1e30))
    unit = block / np.sqrt(np.where(odd, 1, squares))[:, None]
    if not odd.any():
        return unit, odd
    rest = block[odd].astype(np.float64)
    norms = np.sqrt(np.vecdot(rest, rest))
    unit[odd] = rest / np.where(norms, norms, 1)[:, None]
    odd[odd] = norms == 0
    return unit, odd


def pair_scores(q: np.ndarray, g: np.ndarray, rows: np.ndarray, cols: np.ndarray, metric: str,
                dtype: type = np.float64) -> np.ndarray:
    """Score the pairs (q[rows[n]], g[cols[n]]); returns float32 [n]. "cosine" expects unit vectors.

    With dtype float32 the sum is a little less exact and faster; equal pairs get equal scores all the same.
    """
    out = np.empty(len(rows), np.float32)
    step = max(1, PAIR_CELLS // max(1, q.shape[1]))
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        a, b = q[rows[here]].astype(dtype, copy=False), g[cols[here]].astype(dtype, copy=False)
        if metric == "l2":
            a -= b
            out[here] = -np.vecdot(a, a)
        else:
            out[here] = np.vecdot(a, b)
    return np.clip(out, -1, 1, out=out) if metric == "cosine" else out


def similarities(q: np.ndarray, g: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """All scores of a block by one matrix product, and how far each row may be off.

    Returns:
        [q, g] float32 scores, [q] float32 bounds on their rounding error.
    """
    scores = q @ g.T
    q_squares, g_squares = np.vecdot(q, q), np.vecdot(g, g)
    longest = np.sqrt(g_squares.max(initial=0))
    unit = np.float32((q.shape[1] + 8) * 2.0 ** -24)
    if metric != "l2":
        return scores, unit * np.sqrt(q_squares) * longest
    scores *= 2
    scores -= q_squares[:, None]
    scores -= g_squares[None, :]
    return scores, 2 * unit * (np.sqrt(q_squares) + longest) ** 2


def _block_pairs(queries: Embeddings, gallery: Embeddings, metric: str,
                 gallery_rows: int) -> Iterator[tuple[slice, np.ndarray, slice, np.ndarray]]:
    query_rows = max(1, CELLS // max(1, min(gallery_rows, len(gallery))))
    total = -(-len(queries) // query_rows) * -(-len(gallery) // gallery_rows)
    pairs = ((mine, q, theirs, g) for theirs, g in blocks(gallery, metric, gallery_rows)
             for mine, q in blocks(queries, metric, query_rows))
    return progress(pairs, "search", total)


def _merge(keys: np.ndarray, q: np.ndarray, g: np.ndarray, place: np.ndarray, metric: str,
           lowest: np.ndarray) -> np.ndarray:
    """Best keys of a query block after a gallery block; `lowest` is brought up to date in place."""
    scores, slack = similarities(q, g, metric)
    everyone = np.arange(len(q))
    np.minimum(lowest, pair_scores(q, g, everyone, scores.argmin(axis=1), metric), out=lowest)
    rows, cols = _proposed(scores, keys, slack)
    new = sort_keys(pair_scores(q, g, rows, cols, metric), place[cols])
    counts = np.bincount(rows, minlength=len(q))
    starts = np.cumsum(counts) - counts
    padded = np.full((len(q), int(counts.max(initial=0))), EMPTY, np.uint64)
    padded[rows, np.arange(len(rows)) - starts[rows]] = new
    return np.sort(np.concatenate([keys, padded], axis=1), axis=1)[:, :keys.shape[1]]


def _proposed(scores: np.ndarray, keys: np.ndarray, slack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair that may belong to the best k: no worse than what is known to be the k-th, less the rounding."""
    depth = keys.shape[1]
    floor = scores_of(keys[:, -1])
    if scores.shape[1] >= depth:
        floor = np.maximum(floor, _floor(scores, depth) - slack)
    rows, cols = np.divmod(np.flatnonzero(scores >= (floor - slack)[:, None]), scores.shape[1])
    return rows, cols


def _floor(scores: np.ndarray, depth: int) -> np.ndarray:
    """A value that at least `depth` scores of each row reach, near the largest such value.

    The depth-th of the maxima of many groups of columns is one: cheaper than a partition of the whole row.
    """
    groups = max(1024, 8 * depth)
    size = scores.shape[1] // groups
    if size > 1:
        scores = scores[:, :size * groups].reshape(len(scores), size, groups).max(axis=1)
    return np.partition(scores, scores.shape[1] - depth, axis=1)[:, scores.shape[1] - depth]


def sort_keys(scores: np.ndarray, place: np.ndarray) -> np.ndarray:
    """One rising uint64 a pair: the float32 score falling in the upper half, the place of the id below."""
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 and 0.0 one number
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))
    return ((~rising).astype(np.uint64) << np.uint64(32)) | place


def places_of(keys: np.ndarray) -> np.ndarray:
    """The places of the ids within keys, int64."""
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def scores_of(keys: np.ndarray) -> np.ndarray:
    """The scores within keys; -inf for an empty one."""
    rising = ~(keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(rising >> 31, rising & np.uint32(0x7FFFFFFF), ~rising)
    scores = bits.view(np.float32)
    return np.where(keys == EMPTY, np.float32(-np.inf), scores)
