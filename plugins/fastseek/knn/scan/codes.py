"""What a scan compares: vectors in some precision, with what is known of every one's length and
error.
"""

from __future__ import annotations

import abc
import contextlib
from typing import Any, NamedTuple

import numpy as np

from ...structures.arrays import FloatArray

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
# Reduced-precision arithmetic may take numbers below for 0; twice as much, to be safe.
FLUSHED = 2.0**-125


class Codes(NamedTuple):
    """Vectors as a scan holds them.

    `held` [n, D] in the scan's own type; `lengths` [n] float32, no vector is longer; `errors` [n]
    float32, no vector is farther from what is held; `scales` [n] float32, what one unit of a
    whole-number code stands for.
    """

    held: Any
    lengths: np.ndarray
    errors: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, rows: slice | np.ndarray) -> Codes:
        """Those rows, not copied when they are a slice."""
        return Codes(*(column[rows] for column in self))

    @classmethod
    def around(cls, held: Any) -> Codes:
        """Room for as many vectors as `held` has rows."""
        return cls(held, *np.zeros((3, len(held)), np.float32))


class Scan(abc.ABC):
    """A precision in which all pairs are compared, and how far such a score may be from the true
    one.

    A tile is what `product` returns, [q, g]: the scores in float32 here, in a type of the scan's
    own where it says how to read them. They may be off by `slack`, and by `rounding` of themselves.
    Without `proven` they are taken as they are, and nobody checks them.
    """

    name = ""
    rounding = 2.0**-22
    proven = True
    # Queries and gallery rows compared at once: such a tile of scores stays in the cache.
    tile = 512, 8192

    def ready(self) -> contextlib.AbstractContextManager[None]:
        """What must hold while the scan works."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def empty(self, rows: int, dim: int) -> Codes:
        """Room for so many vectors."""

    @abc.abstractmethod
    def encode(self, block: np.ndarray, out: Codes, unit: bool = False) -> None:
        """Put a float32 block [n, D] into `out`; `unit` tells that its vectors have length 1."""

    @abc.abstractmethod
    def workspace(self, cells: int) -> Any:
        """Room for one tile of so many cells."""

    @abc.abstractmethod
    def product(self, q: Codes, g: Codes, work: Any) -> Any:
        """The tile of inner products, within `work`."""

    def scores(self, tile: Any, q: Codes, g: Codes) -> np.ndarray:
        """The scores of a whole tile [q, g], float32."""
        scores: FloatArray = tile
        return scores

    def reaching(self, tile: Any, q: Codes, g: Codes, floor: np.ndarray, mask: np.ndarray) -> None:
        """Set `mask` [q, g] at least where a score is `floor` [q] or more."""
        np.greater_equal(tile, floor[:, None], out=mask)

    def at(self, tile: Any, q: Codes, g: Codes, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Some scores of a tile, float32."""
        scores: FloatArray = tile[rows, cols]
        return scores

    def mask(self, cells: int) -> np.ndarray | None:
        """Room for the mask of one tile."""
        return np.empty(cells, bool)

    def pairs(
        self, tile: Any, q: Codes, g: Codes, floor: np.ndarray, mask: Any, most: int | None
    ) -> Pairs | None:
        """Rows, columns and scores of a tile where a score may be `floor` [q] or more; rows rise.

        None when there are more than `most`.
        """
        mask = mask[: len(q) * len(g)].reshape(len(q), len(g))
        self.reaching(tile, q, g, floor, mask)
        if most is not None and np.count_nonzero(mask) > most:
            return None
        rows, cols = np.divmod(set_cells(mask), len(g))
        return rows, cols, self.at(tile, q, g, rows, cols)

    def lowest(self, tile: Any, q: Codes, g: Codes) -> np.ndarray:
        """The lowest score of each row, float32."""
        least: FloatArray = self.scores(tile, q, g).min(axis=1)
        return least

    def bound_kth(self, tile: Any, q: Codes, g: Codes, depth: int) -> np.ndarray:
        """A lower bound [q] of the `depth`-th largest score of each row, and near it.

        The depth-th of the maxima of many groups of columns is one: cheaper than a partition of the
        whole row.
        """
        scores, groups = self.scores(tile, q, g), max(1024, 8 * depth)
        size = scores.shape[1] // groups
        if size > 1:
            scores = scores[:, : size * groups].reshape(len(scores), size, groups).max(axis=1)
        place = scores.shape[1] - depth
        kth: FloatArray = np.partition(scores, place, axis=1)[:, place]
        return kth

    def slack(self, dim: int, q: Codes, g: Codes) -> np.ndarray:
        """How far the score of two coded vectors may be from that of the vectors; the columns are
        broadcast.

        Cauchy and Schwarz on what the coding lost, plus the rounding of a float32 sum of `dim`
        terms in any order.
        """
        longest = (q.lengths + q.errors) * (g.lengths + g.errors)
        lost = q.errors * g.lengths + (q.lengths + q.errors) * g.errors
        tiny = FLUSHED * dim * (1 + q.lengths + g.lengths)
        slack: FloatArray = (1 + 2.0**-20) * (lost + (dim + 8) * 2.0**-24 * longest + tiny)
        return slack


def set_cells(mask: np.ndarray) -> np.ndarray:
    """Where a mask in one piece of memory, of any shape, is set; eight cells are looked at as one
    number.
    """
    flat = mask.reshape(-1)
    whole = len(flat) // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64) != 0)
    word, cell = np.nonzero(flat[:whole].reshape(-1, 8)[words])
    return np.concatenate([words[word] * 8 + cell, whole + np.flatnonzero(flat[whole:])])


def lengths(block: np.ndarray, unit: bool = False) -> np.ndarray:
    """Upper bounds [n] float32 on the lengths of the rows of a float32 block; of `unit` vectors
    without a look.
    """
    dim = block.shape[1]
    rounding = np.float32(1 + (dim + 8) * 2.0**-23)
    if unit:
        return np.full(len(block), rounding)
    lost = dim**0.5 * 2.0**-62  # numbers so small that their squares may be 0
    bounds: FloatArray = np.sqrt(np.vecdot(block, block)) * rounding + np.float32(lost)
    return bounds
