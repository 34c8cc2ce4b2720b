"""What all enhancers do with a side: new vectors block by block, the same ids."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import numpy as np

from ..errors import RunError
from ..structures import Embeddings

IN_MEMORY = 1 << 30  # bytes of new vectors kept in memory; more of them go to a file
ROWS = 8192  # vectors worked on at once


def allocate(rows: int, dim: int) -> np.ndarray:
    """An array [rows, dim] float32 to be filled: in memory up to IN_MEMORY bytes, else mapped from
    a nameless file.

    The file lies in the folder for temporary files (TMPDIR) and is gone with the array, however the
    process ends.

    Raises:
        RunError: that folder has too little room; says how much is needed.
    """
    size = rows * dim * 4
    if size <= IN_MEMORY:
        return np.empty((rows, dim), np.float32)
    with tempfile.TemporaryFile(prefix="fastseek-") as file:
        try:
            os.posix_fallocate(
                file.fileno(), 0, size
            )  # a mapped file that outgrows its disk would kill the process
        except OSError as error:
            raise RunError(
                f"{tempfile.gettempdir()}: no room for {size / 1e9:.1f} GB of vectors"
                f" ({error.strerror}): set TMPDIR to a larger disk"
            ) from error
        return np.memmap(file, np.float32, "r+", shape=(rows, dim))


def treat_side(
    side: Embeddings, dim: int, function: Callable[[np.ndarray], np.ndarray], fit: str = ""
) -> Embeddings:
    """The side with `function` applied to its vectors, ROWS at a time.

    Args:
        side: stays as it is.
        dim: length of a new vector.
        function: float32 [n, D] to [n, dim]; must not change what it is given.
        fit: the digest of what the function learned; "" where it learned nothing.

    Raises:
        DataError: a vector is not finite; names its id.
    """
    vectors = allocate(len(side), dim)
    for start, block in side.blocks(ROWS):
        vectors[start : start + len(block)] = function(block)
    return Embeddings(side.ids, vectors, {"fit": fit} if fit else {})
