"""Vectors as they are compared: checked, of unit length for "cosine", and the exact score of a
pair.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError
from ..structures import Embeddings
from ..structures.arrays import BoolArray, FloatArray, VectorArray

METRICS = ("cosine", "ip", "l2")
PAIR_CELLS = 1 << 18  # numbers gathered at once when pairs are scored: they stay in the cache
STACKED_ROWS = 8192  # vectors copied at once
LONGEST = 1e18  # products of longer vectors leave float32


def blocks(
    embeddings: Embeddings, metric: str, rows: int, first: int = 0, stop: int | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (slice, those vectors as float32); for "cosine" copies of length 1.

    Args:
        embeddings: of which rows `first` to `stop` are read, all when not given.
        metric: "cosine", "ip" or "l2".
        rows: at a time.

    Raises:
        DataError: a vector is not finite, is zero and so has no cosine, or is too long to score;
            names its id.
    """
    stop = len(embeddings) if stop is None else min(stop, len(embeddings))
    for start in range(first, stop, rows):
        here = slice(start, min(start + rows, stop))
        yield here, check_vectors(embeddings, here, metric)


def check_vectors(
    embeddings: Embeddings, rows: slice, metric: str, out: np.ndarray | None = None
) -> np.ndarray:
    """Some vectors as float32, for "cosine" of length 1 and within `out` if given; errors as for
    `blocks`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        block = np.asarray(embeddings.vectors[rows], np.float32)
        squares = np.vecdot(block, block)
        # Asked this way round because every comparison with NaN is false.
        long: np.ndarray = ~(squares < LONGEST**2)
    if long.any():
        bad: np.ndarray = np.logical_not(np.isfinite(block).all(axis=1))
        if bad.any():
            raise _refuse_vector(embeddings, rows, bad, "not finite")
        if metric != "cosine":
            raise _refuse_vector(embeddings, rows, long, "so long that its scores leave float32")
    if metric != "cosine":
        return block
    block, zero = unit_vectors(block, squares, out)
    if zero.any():
        raise _refuse_vector(embeddings, rows, zero, "zero, so it has no cosine")
    return block


def _refuse_vector(embeddings: Embeddings, rows: slice, bad: np.ndarray, why: str) -> DataError:
    name = str(embeddings.ids[rows][int(bad.argmax())])
    more = f" (and of {int(bad.sum()) - 1} more near it)" if bad.sum() > 1 else ""
    return DataError(f"the vector of {name!r}{more} is {why}: embed it again or leave it out")


def unit_vectors(
    block: np.ndarray, squares: np.ndarray | None = None, out: np.ndarray | None = None
) -> tuple[np.ndarray, BoolArray]:
    """The vectors with length 1, and which of them are zero and have none.

    Squares beyond float32 are taken in float64. What is not finite stays so.
    """
    if squares is None:
        with np.errstate(over="ignore"):
            squares = np.vecdot(block, block)
    # Squares this small or large have lost their digits in float32.
    odd: BoolArray = ~((squares > 1e-30) & (squares < 1e30))
    scaled = np.divide(block, np.sqrt(np.where(odd, 1, squares))[:, None], out=out)
    if not odd.any():
        return scaled, odd
    rest = block[odd].astype(np.float64)
    norms = np.sqrt(np.vecdot(rest, rest))
    scaled[odd] = rest / np.where(norms, norms, 1)[:, None]
    odd[odd] = norms == 0
    return scaled, odd


def unit_rows(
    vectors: ArrayLike,
    what: str = "vector",
    advice: str = "embed the images again",
    dtype: type = np.float32,
) -> np.ndarray:
    """Vectors [N, D] with length 1.

    Args:
        vectors: [N, D], taken as `dtype`.
        what: what an error calls one of them.
        advice: what an error says is to be done.
        dtype: float32 or float64.

    Raises:
        DataError: a vector is zero or not finite; tells its row.
    """
    given: np.ndarray = np.asarray(vectors, dtype)
    with np.errstate(invalid="ignore"):  # refused below
        made, bad = unit_vectors(given)
    bad |= ~np.isfinite(given).all(axis=1)
    if bad.any():
        more = f", and {int(bad.sum()) - 1} others are" if bad.sum() > 1 else ""
        raise DataError(f"{what} {int(bad.argmax())} is zero or not finite{more}: {advice}")
    return made


def pair_scores(
    q: VectorArray,
    g: VectorArray,
    rows: np.ndarray,
    cols: np.ndarray,
    metric: str,
    dtype: type = np.float64,
) -> np.ndarray:
    """Score the pairs (q[rows[n]], g[cols[n]]); returns float32 [n]. "cosine" expects unit vectors.

    With dtype float32 the sum is a little less exact and faster; equal pairs get equal scores all
    the same.
    """
    out = np.empty(len(rows), np.float32)
    step = max(1, PAIR_CELLS // max(1, q.shape[1]))
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        out[here] = matched_scores(q[rows[here]], g[cols[here]], metric, dtype)
    return out


def matched_scores(
    a: np.ndarray, b: np.ndarray, metric: str, dtype: type = np.float64
) -> np.ndarray:
    """Score a[n], or the one a[0], against b[n], [n, D] each; returns float32 [n]. "cosine" expects
    unit vectors.
    """
    a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
    if metric == "l2":
        a = a - b
        distances: FloatArray = -np.vecdot(a, a).astype(np.float32)
        return distances
    scores: FloatArray = np.vecdot(a, b).astype(np.float32)
    if metric == "cosine":
        # Rounding may lead beyond 1, where a cosine has no angle and no distance.
        np.clip(scores, -1, 1, out=scores)
    return scores


def similarities(
    q: np.ndarray, g: np.ndarray, metric: str, out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """All scores of a block by one matrix product, within `out` if given, and how far each row may
    be off.

    Returns:
        [q, g] float32 scores, [q] float32 bounds on their rounding error.
    """
    scores = np.matmul(q, g.T, out=out)
    q_squares, g_squares = np.vecdot(q, q), np.vecdot(g, g)
    longest = np.sqrt(g_squares.max(initial=0))
    # A sum of D products is off by at most D halves of the last place, and a few more for what follows.
    unit_error = np.float32((q.shape[1] + 8) * 2.0**-24)
    if metric != "l2":
        return scores, unit_error * np.sqrt(q_squares) * longest
    # |q - g|^2 taken apart, so that one matrix product does the work; minus it, so that larger is better.
    scores *= 2
    scores -= q_squares[:, None]
    scores -= g_squares[None, :]
    return scores, 2 * unit_error * (np.sqrt(q_squares) + longest) ** 2


def stack_sides(queries: Embeddings, gallery: Embeddings, metric: str) -> Embeddings:
    """Queries, then gallery, as one in memory, float32, under ids "q/…" and "g/…"; unit vectors for
    "cosine".

    Raises:
        DataError: a vector is not finite, or is zero and so has no cosine; names its id.
    """
    ids = [f"{side}/{name}" for side, part in (("q", queries), ("g", gallery)) for name in part.ids]
    vectors = np.empty((len(ids), queries.dim), np.float32)
    for part, first in ((queries, 0), (gallery, len(queries))):
        for here, block in blocks(part, metric, STACKED_ROWS):
            vectors[first + here.start : first + here.stop] = block
    return Embeddings(np.array(ids, str), vectors)
