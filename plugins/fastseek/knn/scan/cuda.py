"""Scan in bfloat16 on a GPU: codes and tiles stay there, only the proposed pairs come back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...structures.arrays import FloatArray
from .bfloat16 import Bfloat16
from .codes import Codes, Pairs, lengths


class Cuda(Bfloat16):
    """Vectors rounded to 8 significant bits, in the memory of a torch device.

    Args:
        device: "cuda", "cuda:1" …; "cpu" works too and is for tests.
    """

    name = "cuda"
    tile = 2048, 65536  # 256 MB of scores and 128 MB of mask on the device

    def __init__(self, device: str = "cuda") -> None:
        self.device = device

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Sums are taken in float32 meanwhile, as `rounding` presumes; torch's own choice comes
        back after.
        """
        import torch

        matmul = torch.backends.cuda.matmul
        before = matmul.allow_bf16_reduced_precision_reduction
        matmul.allow_bf16_reduced_precision_reduction = False
        try:
            yield
        finally:
            matmul.allow_bf16_reduced_precision_reduction = before

    def empty(self, rows: int, dim: int) -> Codes:
        import torch

        return Codes.around(torch.empty((rows, dim), dtype=torch.bfloat16, device=self.device))

    def encode(self, block: np.ndarray, out: Codes, unit: bool = False) -> None:
        import torch

        rounded = torch.from_numpy(block).bfloat16()
        out.held.copy_(rounded)
        out.lengths[:] = lengths(block, unit)
        out.errors[:] = lengths(rounded.float().numpy() - block)

    def workspace(self, cells: int) -> Any:
        import torch

        return torch.empty(cells, dtype=torch.bfloat16, device=self.device)

    def mask(self, cells: int) -> None:
        return None

    def scores(self, tile: Any, q: Codes, g: Codes) -> np.ndarray:
        scores: FloatArray = tile.float().cpu().numpy()
        return scores

    def lowest(self, tile: Any, q: Codes, g: Codes) -> np.ndarray:
        least: FloatArray = tile.amin(dim=1).float().cpu().numpy()
        return least

    def bound_kth(self, tile: Any, q: Codes, g: Codes, depth: int) -> np.ndarray:
        kth: FloatArray = tile.topk(depth, dim=1).values[:, -1].float().cpu().numpy()
        return kth

    def pairs(
        self, tile: Any, q: Codes, g: Codes, floor: np.ndarray, mask: Any, most: int | None
    ) -> Pairs | None:
        import torch

        least = torch.from_numpy(floor - 2.0**-7 * np.abs(floor)).bfloat16().to(tile.device)
        flags = tile >= least[:, None]
        if most is not None and int(flags.sum()) > most:
            return None
        rows, cols = flags.nonzero(as_tuple=True)
        return rows.cpu().numpy(), cols.cpu().numpy(), tile[rows, cols].float().cpu().numpy()
