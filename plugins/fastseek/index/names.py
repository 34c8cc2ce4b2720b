"""Ids and texts as UTF-8 bytes of one width: a quarter of the space of numpy's letters, and sorted
alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, shorten
from ..structures.archive import strings
from ..structures.arrays import IntArray, StringArray

BytesArray = NDArray[np.bytes_]
LONGEST = 1024  # bytes of an id or a text: every row of a segment is as wide as its longest


def encode_names(names: Any, what: str) -> BytesArray:
    """Texts [N] as bytes, whose order is that of the letters.

    Args:
        names: [N] strings.
        what: what an error calls one of them.

    Raises:
        DataError: one is longer than 1,024 bytes, or holds a zero byte.
    """
    letters = strings(names, what)
    zero = next((one for one in letters.tolist() if "\0" in one), None)
    if zero is not None:
        raise DataError(f"the {what} {shorten(zero, 60)!r} holds a zero byte: call it otherwise")
    try:
        made = letters.astype(np.bytes_)
    except UnicodeEncodeError:
        # Bytes of a file name that are no UTF-8 pass too.
        made = np.char.encode(letters, "utf-8", "surrogatepass")
    # An array may be wider than its texts, such as a part of another one.
    lengths = np.char.str_len(made)
    width = int(lengths.max(initial=1))
    if width > LONGEST:
        long = letters[lengths > LONGEST]
        raise DataError(f"the {what} {shorten(str(long[0]), 60)!r} is longer than {LONGEST} bytes")
    return made if made.dtype.itemsize == width else made.astype(f"S{width}")


def decode_names(keys: BytesArray) -> StringArray:
    """The texts that `encode_names` was given."""
    try:
        return keys.astype(np.str_)
    except UnicodeDecodeError:
        return np.char.decode(keys, "utf-8", "surrogatepass")


def find_names(keys: BytesArray, known: BytesArray) -> IntArray:
    """The row [N] int64 of every key among sorted ones, -1 where it is not there."""
    if not len(known):
        return np.full(len(keys), -1, np.int64)
    # A longer key is not there; and of two widths numpy would copy all that is known.
    short = np.char.str_len(keys) <= known.dtype.itemsize
    wanted = keys.astype(known.dtype)
    rows = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(short & (known[rows] == wanted), rows, -1)
