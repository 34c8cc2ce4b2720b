"""faiss as it is here: a build for CPUs or GPUs, older or newer."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ..errors import UsageError

ROWS = 16384  # vectors handed to faiss at once
GPU_DEPTH = 2048  # more images a query faiss does not find on a GPU
logger = logging.getLogger("fastseek")


def import_faiss() -> Any:
    """The faiss module, CPU or GPU build.

    Raises:
        UsageError: it is not installed; says what to install.
    """
    try:
        import faiss
    except ImportError as error:
        raise UsageError(
            "faiss is not installed: pip install faiss-cpu, or use exact(…)"
        ) from error
    return faiss


def move_to_gpus(index: Any, depth: int) -> Any:
    """The index on all GPUs where the faiss at hand is a GPU build that works for it, else the
    index as it is.

    Args:
        index: trained and filled, its search options set.
        depth: how many images a query will ask for.
    """
    count = getattr(import_faiss(), "get_num_gpus", lambda: 0)()
    if not count or depth > GPU_DEPTH:
        return index
    try:
        there = import_faiss().index_cpu_to_all_gpus(index)
        there.search(
            np.zeros((1, index.d), np.float32), min(depth, 1)
        )  # a wheel may lack this GPU's kernels
    except (RuntimeError, AssertionError) as error:
        logger.warning(
            "faiss cannot use the GPU (%s): searching on the CPU", str(error).splitlines()[0]
        )
        return index
    return there


def faiss_metric(metric: str) -> int:
    """What faiss calls a metric; unit vectors are compared by their inner product."""
    faiss = import_faiss()
    return int(faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)


def require_rabitq(instead: str) -> None:
    """Check that faiss has RaBitQ with several bits a number.

    Args:
        instead: what can be used without it.

    Raises:
        UsageError: it has not; says what to do.
    """
    faiss = import_faiss()
    if not hasattr(getattr(faiss, "RaBitQuantizer", None), "nb_bits"):
        raise UsageError(
            f"ivf_rabitq needs faiss 1.13.2 or newer, here is {faiss.__version__}: pip install -U"
            f" faiss-cpu, or use {instead}"
        )


def count_parts(dim: int, most: int) -> int:
    """Into how many parts of a byte each a vector is cut: the largest divisor of `dim` that is not
    above `most`.
    """
    return next(size for size in range(min(most, dim), 0, -1) if dim % size == 0)


def count_bits(count: int, train: int) -> int:
    """Bits of a part's code: 8, or as many as there are vectors for, of which `train` are learnt
    from; 0 for all.
    """
    return max(1, min(8, min(count, train or count).bit_length() - 1))
