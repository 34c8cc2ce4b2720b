"""Scan in 8-bit whole numbers: a quarter of the memory, exact sums, fast where the CPU multiplies
bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...structures.arrays import FloatArray
from .codes import Codes, Scan, lengths


class Int8(Scan):
    """Vectors as multiples of the 127th part of their largest number; 1 byte a number.

    Needs torch.
    """

    name = "int8"

    def empty(self, rows: int, dim: int) -> Codes:
        import torch

        # Rows are filled up with zeros: torch gets the product of vectors of one byte wrong.
        return Codes.around(torch.zeros((rows, -(-dim // 16) * 16), dtype=torch.int8))

    def encode(self, block: np.ndarray, out: Codes, unit: bool = False) -> None:
        import torch

        given = torch.from_numpy(block)
        scales = given.abs().amax(dim=1, keepdim=True).div_(127)
        # As good as zero: the code is zero and the error the vector itself.
        scales[scales < 2.0**-120] = 1
        codes = (given / scales).round_().clamp_(-127, 127)
        out.held[:, : block.shape[1]].copy_(codes)
        out.scales[:] = scales[:, 0].numpy()
        out.lengths[:] = lengths(block, unit)
        out.errors[:] = lengths(codes.mul_(scales).sub_(given).numpy()) + out.lengths * np.float32(
            2.0**-22
        )

    def workspace(self, cells: int) -> Any:
        import torch

        return torch.empty(cells, dtype=torch.int32), torch.empty(cells, dtype=torch.float32)

    def product(self, q: Codes, g: Codes, work: Any) -> np.ndarray:
        import torch

        whole, scaled = (part[: len(q) * len(g)].view(len(q), len(g)) for part in work)
        torch._int_mm(q.held, g.held.T, out=whole)
        tile: FloatArray = torch.mul(whole, torch.from_numpy(g.scales), out=scaled).numpy()
        return tile

    def scores(self, tile: np.ndarray, q: Codes, g: Codes) -> np.ndarray:
        scores: FloatArray = tile * q.scales[:, None]
        return scores

    def reaching(
        self, tile: np.ndarray, q: Codes, g: Codes, floor: np.ndarray, mask: np.ndarray
    ) -> None:
        units = floor / q.scales
        np.greater_equal(tile, (units - self.rounding * np.abs(units))[:, None], out=mask)

    def at(
        self, tile: np.ndarray, q: Codes, g: Codes, rows: np.ndarray, cols: np.ndarray
    ) -> np.ndarray:
        scores: FloatArray = tile[rows, cols] * q.scales[rows]
        return scores
