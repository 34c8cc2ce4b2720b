"""Which scan to use: the fastest this machine computes rightly."""

from __future__ import annotations

import functools
import importlib.util
import sys
import time

import numpy as np

from ...errors import UsageError
from .bfloat16 import Bfloat16
from .codes import Codes, Scan
from .cuda import Cuda
from .distance import Distance
from .float32 import Float32
from .int8 import Int8

SCANS: dict[str, type[Scan]] = {
    "float32": Float32,
    "bfloat16": Bfloat16,
    "int8": Int8,
    "cuda": Cuda,
}
LARGE = 10**11  # multiplications from which loading torch pays: about two seconds in float32
MIDDLE = 4 * 10**9  # the same where torch is loaded already


def choose(name: str, metric: str, work: int = 0) -> Scan:
    """The scan of that name.

    Args:
        name: "float32", "bfloat16", "int8", "cuda" or "auto": when the work is large a GPU, or
            bfloat16 where it is faster than float32 here, else float32.
        metric: "cosine", "ip" or "l2".
        work: queries x gallery x D.

    Raises:
        UsageError: no such scan, or what it needs is not there.
    """
    if name == "auto":
        name = _fastest() if work >= (MIDDLE if "torch" in sys.modules else LARGE) else "float32"
    if name not in SCANS:
        raise UsageError(f"scan must be auto, {', '.join(SCANS)}, got {name!r}")
    if name != "float32" and importlib.util.find_spec("torch") is None:
        raise UsageError(f"a scan in {name} needs torch: pip install torch, or use float32")
    if name == "cuda" and not _gpu():
        raise UsageError("a scan on cuda needs a GPU that torch can use: there is none, use auto")
    scan = SCANS[name]()
    return Distance(scan) if metric == "l2" else scan


def _fastest() -> str:
    if _gpu():
        return "cuda"
    return "bfloat16" if quicker("bfloat16") else "float32"


def _gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@functools.cache
def quicker(name: str) -> bool:
    """Whether a scan beats float32 on this machine by a third; measured once, in some
    milliseconds.
    """
    if importlib.util.find_spec("torch") is None:
        return False
    return 1.5 * _price(SCANS[name]()) < _price(Float32())


def _price(scan: Scan, rows: int = 256, cols: int = 2048, dim: int = 512) -> float:
    """Seconds of a small tile, the least of five."""
    random = np.random.default_rng(0)
    q, g = (
        _coded_size(scan, random.standard_normal((count, dim), np.float32))
        for count in (rows, cols)
    )
    work, prices = scan.workspace(rows * cols), []
    for _ in range(5):
        start = time.perf_counter()
        scan.product(q, g, work)
        prices.append(time.perf_counter() - start)
    return min(prices)


def _coded_size(scan: Scan, block: np.ndarray) -> Codes:
    codes = scan.empty(*block.shape)
    scan.encode(block, codes)
    return codes
