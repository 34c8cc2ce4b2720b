"""Scan by distance: any other scan's products made into minus squared distances."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ...structures.arrays import FloatArray
from .codes import Codes, Scan


class Distance(Scan):
    """Scores 2 q.g - |g|^2 - |q|^2 from the products of `inner`."""

    def __init__(self, inner: Scan) -> None:
        self.inner, self.name, self.tile = inner, inner.name, inner.tile

    def ready(self) -> contextlib.AbstractContextManager[None]:
        return self.inner.ready()

    def empty(self, rows: int, dim: int) -> Codes:
        return self.inner.empty(rows, dim)

    def encode(self, block: np.ndarray, out: Codes, unit: bool = False) -> None:
        # Exact lengths, whatever they are: their squares are in the score.
        self.inner.encode(block, out)

    def workspace(self, cells: int) -> Any:
        return self.inner.workspace(cells), np.empty(cells, np.float32)

    def product(self, q: Codes, g: Codes, work: Any) -> np.ndarray:
        tile: FloatArray = work[1][: len(q) * len(g)].reshape(len(q), len(g))
        np.multiply(self.inner.scores(self.inner.product(q, g, work[0]), q, g), 2, out=tile)
        tile -= g.lengths * g.lengths
        tile -= (q.lengths * q.lengths)[:, None]
        return tile

    def slack(self, dim: int, q: Codes, g: Codes) -> np.ndarray:
        # `lengths` are a little too long, by a share and by a tiny number, and so are their
        # squares.
        products = self.inner.rounding * (q.lengths + q.errors) * (g.lengths + g.errors)
        both = q.lengths + g.lengths
        squares = (dim + 16) * 2.0**-21 * both**2 + dim**0.5 * 2.0**-60 * both
        slack: FloatArray = 2 * self.inner.slack(dim, q, g) + 2 * products + squares
        return slack
