"""Scan in single precision: numpy's matrix product, nothing lost but rounding."""

from __future__ import annotations

import numpy as np

from .codes import Codes, Scan, lengths


class Float32(Scan):
    """Vectors as they are; 4 bytes a number."""

    name = "float32"

    def empty(self, rows: int, dim: int) -> Codes:
        return Codes.around(np.empty((rows, dim), np.float32))

    def encode(self, block: np.ndarray, out: Codes, unit: bool = False) -> None:
        if block is not out.held:
            out.held[:] = block
        out.lengths[:] = lengths(block, unit)

    def workspace(self, cells: int) -> np.ndarray:
        return np.empty(cells, np.float32)

    def product(self, q: Codes, g: Codes, work: np.ndarray) -> np.ndarray:
        return np.matmul(q.held, g.held.T, out=work[: len(q) * len(g)].reshape(len(q), len(g)))
