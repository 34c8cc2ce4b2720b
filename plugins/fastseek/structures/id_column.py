"""IdColumn: the ids of millions of images as their letters and where each begins, on disk one file."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from ..errors import ArtefactError, DataError, refuse_exhausted
from ..io.atomic import atomic
from ..io.paths import PathLike
from .archive import check_open, strings
from .arrays import BoolArray, IntArray, StringArray
from .letters import (
    HashArray,
    LetterDigest,
    Letters,
    decode,
    encode,
    hash_letters,
    offsets_of,
    sort_words,
)

FORMAT = "fastseek ids 1"
WORDS = 16  # of eight letters: longer ids are sorted as numpy's strings
ROWS = 65536  # ids that are encoded, decoded or hashed at a time
LONGEST_HEADER = 1 << 20


class IdColumn:
    """Ids [N] as UTF-8 letters, one after the other, and offsets: the letters and 8 bytes an id.

    numpy's own arrays of strings take four bytes for every letter of the longest id. An id is
    a `str` where one is asked for, and such an array where several are. A column of a file is
    memory-mapped, and goes to other processes as the file's name.

    Args:
        letters: [B] uint8.
        offsets: [N + 1] int64, rising: id n is letters[offsets[n]:offsets[n + 1]].
    """

    def __init__(self, letters: Letters, offsets: IntArray) -> None:
        self.letters, self.offsets = letters, offsets
        self._source: _Source | None = None
        self._unique = False  # whether it is known that none stands twice

    @classmethod
    def from_strings(cls, ids: Iterable[str] | StringArray | IdColumn) -> IdColumn:
        """The column of some ids; of an iterator no more than a block is held as strings.

        Raises:
            DataError: they are no list of strings, or one ends with a zero byte.
        """
        if isinstance(ids, IdColumn):
            return ids
        return cls._of([encode(block) for block in _cut(ids)])

    @classmethod
    def concatenate(cls, columns: Sequence[IdColumn]) -> IdColumn:
        """The ids of several columns, one after the other, in memory."""
        return cls._of([column._run(0, len(column)) for column in columns])

    @classmethod
    def _of(cls, parts: Sequence[tuple[Letters, IntArray]]) -> IdColumn:
        """The column of letters and lengths, part by part."""
        if not parts:
            return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64))
        letters, lengths = zip(*parts, strict=True)
        return cls(np.concatenate(letters), offsets_of(np.concatenate(lengths)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def shape(self) -> tuple[int]:
        """(N,)."""
        return (len(self),)

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: slice | np.ndarray) -> StringArray: ...
    def __getitem__(self, rows: int | slice | np.ndarray) -> str | StringArray:
        """The id of a row; those of a slice, of row numbers or of a mask, as numpy's strings."""
        if isinstance(rows, (int, np.integer)):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of {len(self)}")
            row = int(rows) % len(self)
            return str(self._run_of_strings(row, row + 1)[0])
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._run_of_strings(start, max(start, stop))
            rows = np.arange(start, stop, step)
        wanted = np.asarray(rows)
        wanted = np.flatnonzero(wanted) if wanted.dtype == bool else wanted.astype(np.int64)
        flat = np.where(wanted < 0, wanted + len(self), wanted).ravel()
        if flat.size and not 0 <= flat.min() <= flat.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)}")
        parts = [
            self._decode(*self._gather(flat[at : at + ROWS]))
            for at in range(0, max(1, len(flat)), ROWS)
        ]
        return _join(parts).reshape(wanted.shape)

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            yield from block.tolist()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.find([name])[0] >= 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is not None:
            return _reopen, tuple(self._source)
        return IdColumn, (np.asarray(self.letters), np.asarray(self.offsets))

    @property
    def file(self) -> str:
        """The file it is, "" where it is none or a part of one."""
        source = self._source
        return source.path if source and source[1:] == (0, source.rows, source.rows) else ""

    def tolist(self) -> list[str]:
        """All ids as Python's strings."""
        return list(self)

    def blocks(self, rows: int = ROWS) -> Iterator[StringArray]:
        """The ids as numpy's strings, `rows` at a time."""
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

    def part(self, start: int, stop: int) -> IdColumn:
        """Rows start to stop as a column; nothing is copied."""
        start, stop, _ = slice(start, stop).indices(len(self))
        made = IdColumn(self.letters, self.offsets[start : max(start, stop) + 1])
        made._unique = self._unique
        if self._source is not None:
            first = self._source.start
            made._source = self._source._replace(start=first + start, stop=first + stop)
        return made

    def take(self, rows: IntArray) -> IdColumn:
        """Some rows, by number from 0, as a column in memory."""
        wanted = np.asarray(rows, np.int64)
        # Block by block: a number for every letter is gathered by.
        starts = range(0, len(wanted), ROWS)
        return IdColumn._of([self._gather(wanted[at : at + ROWS]) for at in starts])

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the letters and lengths, the same however the ids are held; of a file what was
        written into it: `verify` compares.
        """
        hasher = LetterDigest()
        for start in range(0, len(self), ROWS):
            hasher.add(*self._run(start, min(start + ROWS, len(self))))
        return hasher.end()

    def verify(self) -> None:
        """Compare the letters of a file with the digest it was written with.

        Raises:
            ArtefactError: they are others.
        """
        if self._source is None:
            return
        whole = IdColumn(*_open(self._source.path)[:2])
        written = load_digest(self._source.path)
        try:
            same = whole.digest == written
        except ArtefactError:
            same = False
        if not same:
            raise ArtefactError(f"{self._source.path}: the ids are not those that were written")

    def find(self, names: Sequence[str] | StringArray | IdColumn) -> IntArray:
        """The row [n] int64 of every name, -1 where it is not there; of an id that stands twice the
        first.

        Names are found by hashes of 64 bits, sorted at the first call (16 bytes an id), and
        compared letter by letter.
        """
        wanted = IdColumn.from_strings(names)
        found = np.full(len(wanted), -1, np.int64)
        for start in range(0, len(wanted) if len(self) else 0, ROWS):
            stop = min(start + ROWS, len(wanted))
            found[start:stop] = self._find(wanted.part(start, stop))
        return found

    def find_repeated(self) -> tuple[str, int] | None:
        """An id that stands there more than once and how often, None where there is none."""
        hashes, rows = self._sorted
        same = hashes[1:] == hashes[:-1]
        suspects = np.zeros(len(hashes), bool)
        suspects[1:] |= same
        suspects[:-1] |= same
        if not same.any():
            return None
        names, counts = np.unique(self[rows[suspects]], return_counts=True)
        most = int(counts.argmax())
        return (str(names[most]), int(counts[most])) if counts[most] > 1 else None

    def check_unique(self, what: str) -> None:
        """Check that every id stands there once; what was found is remembered, in a file too.

        Args:
            what: what an error calls them.

        Raises:
            DataError: one stands twice.
        """
        if not self._unique:
            twice = self.find_repeated()
            if twice is not None:
                raise DataError(f"{what}: id {twice[0]!r} stands {twice[1]} times, must be once")
            self._unique = True

    def order(self) -> IntArray:
        """The rows [N] int64 in the order of their ids, as numpy's strings sort."""
        longest = int(np.diff(self.offsets).max(initial=0))
        if longest > 8 * WORDS:
            return np.argsort(self[:], kind="stable")
        keys = np.zeros((max(1, -(-longest // 8)), len(self)), np.uint64)
        for start in range(0, len(self), ROWS):
            stop = min(start + ROWS, len(self))
            keys[:, start:stop] = sort_words(*self._run(start, stop), len(keys))
        # UTF-8 sorts as its letters do; the last key of `lexsort` is the first to count.
        return np.lexsort(tuple(keys[::-1]))

    def save(self, path: PathLike) -> None:
        """Write a .safetensors file with `offsets` and `letters`, and the digest in its metadata."""
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        ends = 8 * len(self.offsets), 8 * len(self.offsets) + last - first
        header = {
            "__metadata__": {"format": FORMAT, "sha256": self.digest, "unique": str(self._unique)},
            "offsets": {"dtype": "I64", "shape": [len(self) + 1], "data_offsets": [0, ends[0]]},
            "letters": {"dtype": "U8", "shape": [last - first], "data_offsets": [*ends]},
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # so that the offsets are aligned
        with atomic(path) as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for start in range(0, len(self.offsets), ROWS):
                file.write((self.offsets[start : start + ROWS] - first).astype("<i8").tobytes())
            for start in range(first, last, ROWS * 64):
                file.write(self.letters[start : min(start + ROWS * 64, last)].tobytes())

    @classmethod
    def load(cls, path: PathLike) -> IdColumn:
        """Open what `save` wrote, memory-mapped: in the same time however many ids it holds.

        Raises:
            DataError: it is not there or cannot be read. ArtefactError: it is not whole; a changed
                letter is found by `verify` only.
        """
        letters, offsets, about = _open(path)
        made = cls(letters, offsets)
        made._unique = about["unique"] == "True"
        made._source = _Source(os.path.abspath(path), 0, len(made), len(made))
        made.__dict__["digest"] = about["sha256"]  # known, and so not computed
        return made

    def _run(self, start: int, stop: int) -> tuple[Letters, IntArray]:
        """Letters and lengths of a run of rows."""
        offsets = np.asarray(self.offsets[start : stop + 1])
        lengths = self._check(offsets[:-1], offsets[1:])
        return np.asarray(self.letters[offsets[0] : offsets[-1]]), lengths

    def _gather(self, rows: IntArray) -> tuple[Letters, IntArray]:
        """Letters and lengths of some rows."""
        starts = np.asarray(self.offsets[rows])
        lengths = self._check(starts, np.asarray(self.offsets[rows + 1]))
        ends = np.cumsum(lengths)
        skips = np.repeat(starts - ends + lengths, lengths)
        return np.asarray(self.letters[skips + np.arange(len(skips))]), lengths

    def _check(self, starts: IntArray, stops: IntArray) -> IntArray:
        """The lengths, of offsets that rise within the letters."""
        lengths = stops - starts
        if lengths.size and (
            lengths.min() < 0 or starts.min() < 0 or stops.max() > len(self.letters)
        ):
            raise self._damage("its offsets do not rise")
        return lengths

    def _run_of_strings(self, start: int, stop: int) -> StringArray:
        bounds = range(start, max(stop, start + 1), ROWS)
        return _join([self._decode(*self._run(at, min(at + ROWS, stop))) for at in bounds])

    def _decode(self, letters: Letters, lengths: IntArray) -> StringArray:
        try:
            return decode(letters, lengths)
        except UnicodeDecodeError as error:
            raise self._damage("its letters are no UTF-8") from error

    def _damage(self, why: str) -> ArtefactError:
        name = "ids" if self._source is None else self._source.path
        return ArtefactError(f"{name}: not a whole file of ids ({why}): make it anew")

    @functools.cached_property
    def _sorted(self) -> tuple[HashArray, IntArray]:
        """The hashes, rising, and whose they are; rows of one hash in their order."""
        hashes = self._hashes()
        rows = np.argsort(hashes, kind="stable")
        return hashes[rows], rows

    def _hashes(self) -> HashArray:
        made = np.empty(len(self), np.uint64)
        for start in range(0, len(self), ROWS):
            stop = min(start + ROWS, len(self))
            made[start:stop] = hash_letters(*self._run(start, stop))
        return made

    def _find(self, wanted: IdColumn) -> IntArray:
        hashes, rows = self._sorted
        keys = wanted._hashes()
        found = np.full(len(keys), -1, np.int64)
        asked, place = np.arange(len(keys)), np.searchsorted(hashes, keys)
        while len(asked):
            here = place < len(hashes)
            here[here] = hashes[place[here]] == keys[asked[here]]
            asked, place = asked[here], place[here]
            same = self._compare(rows[place], wanted, asked)
            found[asked[same]] = rows[place[same]]
            # Other letters of the same hash: the next one may be it.
            asked, place = asked[~same], place[~same] + 1
        return found

    def _compare(self, rows: IntArray, other: IdColumn, others: IntArray) -> BoolArray:
        """Whether rows of both columns, pair by pair, are one id."""
        sizes = [
            column.offsets[part + 1] - column.offsets[part]
            for column, part in ((self, rows), (other, others))
        ]
        same: BoolArray = np.asarray(sizes[0] == sizes[1])
        pairs = np.flatnonzero(same)
        ours, lengths = self._gather(rows[pairs])
        theirs, _ = other._gather(others[pairs])
        wrong = np.searchsorted(np.cumsum(lengths), np.flatnonzero(ours != theirs), side="right")
        same[pairs[wrong]] = False
        return same


class _Source(NamedTuple):
    """Rows start to stop of a file that holds `rows`."""

    path: str
    start: int
    stop: int
    rows: int


def digest_ids(ids: Iterable[str] | StringArray | IdColumn) -> str:
    """The digest of ids, as `IdColumn.digest` tells it, however they are held.

    Raises:
        DataError: they are no list of strings, or one ends with a zero byte.
    """
    if isinstance(ids, IdColumn):
        return ids.digest
    hasher = LetterDigest()
    for block in _cut(ids):
        hasher.add(*encode(block))
    return hasher.end()


def load_digest(path: PathLike) -> str:
    """The digest that a file of ids tells.

    Raises:
        DataError: it is not there or cannot be read. ArtefactError: it is not whole.
    """
    return _open(path)[2]["sha256"]


def _cut(ids: Iterable[str] | StringArray) -> Iterator[StringArray]:
    """Ids as numpy's strings, block by block."""
    if isinstance(ids, np.ndarray):
        whole = strings(ids, "ids")
        yield from (whole[at : at + ROWS] for at in range(0, len(whole), ROWS))
        return
    if isinstance(ids, (str, bytes)):
        raise DataError(f"ids: not a list of strings, but {ids[:40]!r}")
    rest = iter(ids)
    while block := list(itertools.islice(rest, ROWS)):
        yield strings(block, "ids")


def _join(parts: Sequence[StringArray]) -> StringArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _open(path: PathLike) -> tuple[Letters, IntArray, dict[str, str]]:
    """Letters, offsets and metadata of a file, the first two mapped."""
    check_open(path)
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= LONGEST_HEADER:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
            held = os.fstat(file.fileno()).st_size - 8 - size
        about, offsets, letters = (header[name] for name in ("__metadata__", "offsets", "letters"))
        if about["format"] != FORMAT or about["unique"] not in ("True", "False"):
            raise ValueError(f"of format {about['format']!r}")
        rows, count = offsets["shape"][0], letters["shape"][0]
        middle, end = 8 * rows, 8 * rows + count
        told = offsets["dtype"], offsets["data_offsets"], letters["dtype"], letters["data_offsets"]
        if told != ("I64", [0, middle], "U8", [middle, end]) or rows < 1 or held != end:
            raise ValueError(f"{held} bytes, {end} are told")
        whole = np.memmap(path, np.uint8, "r")[8 + size :].view(np.ndarray)
        made = whole[:middle].view("<i8")
        if made[0] != 0 or made[-1] != count or not isinstance(about["sha256"], str):
            raise ValueError("its offsets are not those of its letters")
        return whole[middle:], made, about
    except MemoryError:
        raise
    except Exception as error:  # a flipped byte can make the header tell nearly anything
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: not a whole file of ids ({error}): make it anew") from error


def _reopen(path: str, start: int, stop: int, rows: int) -> IdColumn:
    """A column of a file in another process."""
    whole = IdColumn.load(path)
    return whole if (start, stop) == (0, rows) else whole.part(start, stop)
