"""Texts as UTF-8 letters, one after the other, and how many bytes each takes: from numpy's strings and
back, their digest and their hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .arrays import IntArray, StringArray

CODE = "utf-8", "surrogatepass"  # bytes of file names that are no UTF-8 pass too
MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
# The first n of eight letters.
MASKS = np.array([(1 << 8 * kept) - 1 for kept in range(9)], np.uint64)

Letters = NDArray[np.uint8]
HashArray = NDArray[np.uint64]


def encode(names: StringArray) -> tuple[Letters, IntArray]:
    """Letters and lengths of numpy's strings."""
    width = names.dtype.itemsize // 4
    little = np.ascontiguousarray(names).astype(f"<U{width}", copy=False)
    sizes = np.char.str_len(little).astype(np.int64)
    points = little.view("<u4").reshape(len(names), width)[np.arange(width) < sizes[:, None]]
    try:
        text = points.tobytes().decode("utf-32-le", CODE[1])
    except UnicodeDecodeError as error:
        raise DataError(f"ids: not all of them are text ({error})") from error
    letters = np.frombuffer(text.encode(*CODE), np.uint8)
    if len(letters) == len(points):
        return letters, sizes
    more = sum((points >= least).astype(np.int64) for least in (0x80, 0x800, 0x10000))
    return letters, sizes + _sum_runs(np.asarray(more), sizes)


def decode(letters: Letters, lengths: IntArray) -> StringArray:
    """Numpy's strings of letters and lengths."""
    text = letters.tobytes().decode(*CODE)
    points = np.frombuffer(text.encode("utf-32-le", CODE[1]), "<u4")
    sizes = lengths
    if len(points) != len(letters):
        sizes = _sum_runs(((letters & 0xC0) != 0x80).astype(np.int64), lengths)
    width = max(1, int(sizes.max(initial=1)))
    table = np.zeros((len(lengths), width), "<u4")
    table[np.arange(width) < sizes[:, None]] = points
    return table.view(f"<U{width}")[:, 0]


def _sum_runs(values: IntArray, lengths: IntArray) -> IntArray:
    """The sum of every run of values, an empty one's 0."""
    sums, ends = offsets_of(values), np.cumsum(lengths)
    made: IntArray = sums[ends] - sums[ends - lengths]
    return made


def offsets_of(lengths: IntArray) -> IntArray:
    """Where each of some runs begins, and the last one ends."""
    made = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=made[1:])
    return made


def hash_letters(letters: Letters, lengths: IntArray) -> HashArray:
    """64 bits for every id."""
    made = (lengths.astype(np.uint64) + np.uint64(1)) * MIX[0]
    for longer, word in _read_words(letters, lengths):
        mixed = (made[longer] ^ word) * MIX[1]
        made[longer] = mixed ^ (mixed >> np.uint64(29))
    made *= MIX[0]
    return made ^ (made >> np.uint64(32))


def sort_words(letters: Letters, lengths: IntArray, words: int) -> HashArray:
    """Numbers [words, N] that sort as the ids do, the first row before the second."""
    made = np.zeros((words, len(lengths)), np.uint64)
    for number, (longer, word) in enumerate(_read_words(letters, lengths)):
        made[number, longer] = word.byteswap()
    return made


def _read_words(letters: Letters, lengths: IntArray) -> Iterator[tuple[IntArray, HashArray]]:
    """Eight letters at a time: the ids [n] that have so many, and their letters as one number, the
    first one lowest.
    """
    padded = np.zeros(len(letters) + 8, np.uint8)
    padded[: len(letters)] = letters
    words = np.ndarray(len(letters) + 1, "<u8", padded.data, strides=(1,))
    starts = np.cumsum(lengths) - lengths
    for at in range(0, int(lengths.max(initial=0)), 8):
        longer = np.flatnonzero(lengths > at)
        yield longer, words[starts[longer] + at] & MASKS[np.minimum(lengths[longer] - at, 8)]


class LetterDigest:
    """The digest of texts that come block by block, whatever the blocks."""

    def __init__(self) -> None:
        self._letters, self._lengths = hashlib.sha256(), hashlib.sha256()

    def add(self, letters: Letters, lengths: IntArray) -> None:
        """The next block."""
        self._letters.update(np.ascontiguousarray(letters).data)
        self._lengths.update(np.ascontiguousarray(lengths, "<i8").data)

    def end(self) -> str:
        """The digest, hexadecimal."""
        return hashlib.sha256(self._letters.digest() + self._lengths.digest()).hexdigest()
