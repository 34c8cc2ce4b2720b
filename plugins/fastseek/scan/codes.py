"""What a scan compares: vectors in some precision, with what is known of every one's length and error."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import numpy as np

FLUSHED = 2.0 ** -125  # numbers below may be taken for 0 by reduced-precision arithmetic; twice, to be safe


class Codes(NamedTuple):
    """Vectors as a scan holds them.

    `held` [n, D] in the scan's own type; `lengths` [n] float32, no vector is longer; `errors` [n] float32, no vector
    is farther from what is held; `scales` [n] float32, what one unit of a whole-number code stands for.
    """

    held: Any
    lengths: np.ndarray
    errors: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, rows: slice) -> Codes:
        """Those rows, not copied."""
        return Codes(*(column[rows] for column in self))

    @classmethod
    def around(cls, held: Any) -> Codes:
        """Room for as many vectors as `held` has rows."""
        return cls(held, *np.zeros((3, len(held)), np.float32))


class Scan(abc.ABC):
    """A precision in which all pairs are compared, and how far such a score may be from the true one.

    A tile is what `product` returns, [q, g] in a type of the scan's own; its scores may be off by `slack`, and by
    `rounding` of themselves.
    """

    name = ""
    rounding = 2.0 ** -22

    @abc.abstractmethod
    def empty(self, rows: int, dim: int) -> Codes:
        """Room for so many vectors."""

    @abc.abstractmethod
    def encode(self, block: np.ndarray, out: Codes) -> None:
        """Put a float32 block [n, D] into `out`."""

    @abc.abstractmethod
    def workspace(self, cells: int) -> Any:
        """Room for one tile of so many cells."""

    @abc.abstractmethod
    def product(self, q: Codes, g: Codes, work: Any) -> Any:
        """The tile of inner products, within `work`."""

    @abc.abstractmethod
    def scores(self, tile: Any, q: Codes, g: Codes) -> np.ndarray:
        """The scores of a whole tile [q, g], float32."""

    @abc.abstractmethod
    def reaching(self, tile: Any, q: Codes, g: Codes, floor: np.ndarray, mask: np.ndarray) -> None:
        """Set `mask` [q, g] at least where a score is `floor` [q] or more."""

    @abc.abstractmethod
    def at(self, tile: Any, q: Codes, g: Codes, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Some scores of a tile, float32."""

    def slack(self, dim: int, q: Codes, g: Codes) -> np.ndarray:
        """How far the score of two coded vectors may be from that of the vectors; the columns are broadcast.

        Cauchy and Schwarz on what the coding lost, plus the rounding of a float32 sum of `dim` terms in any order.
        """
        longest = (q.lengths + q.errors) * (g.lengths + g.errors)
        lost = q.errors * g.lengths + (q.lengths + q.errors) * g.errors
        tiny = FLUSHED * dim * (1 + q.lengths + g.lengths)
        return (1 + 2.0 ** -20) * (lost + (dim + 8) * 2.0 ** -24 * longest + tiny)


def lengths(block: np.ndarray) -> np.ndarray:
    """Upper bounds [n] float32 on the lengths of the rows of a float32 block."""
    dim = block.shape[1]
    lost = dim ** 0.5 * 2.0 ** -62  # numbers so small that their squares may be 0
    return np.sqrt(np.vecdot(block, block)) * np.float32(1 + (dim + 8) * 2.0 ** -23) + np.float32(lost)
