"""Vectors that need not lie in memory: on disk, in several files, or made when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

StringArray = NDArray[np.str_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Rows = slice | np.ndarray | int  # how rows are asked for: a run, some by number, or one


class VectorArray(Protocol):
    """Vectors [N, D]: a numpy array, a memory map, or one of the classes below.

    Only the rows that are asked for are read, and they come as an array in memory or a view.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Rows by slice, by index array or by number."""


class Lazy:
    """What the classes below share: a shape, a type, and numpy's way to ask for everything."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Rows) -> np.ndarray:
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class Shards(Lazy):
    """Several arrays [n_i, D], one below the other, as one array [N, D].

    Args:
        parts: at least one; each is read only where its rows are asked for.
    """

    def __init__(self, parts: Sequence[VectorArray]) -> None:
        self.parts = list(parts)
        self.starts = np.cumsum([0] + [len(part) for part in self.parts])
        self.shape = (int(self.starts[-1]), parts[0].shape[1])
        self.dtype = parts[0].dtype

    def __getitem__(self, rows: Rows) -> np.ndarray:
        """Rows by slice, by index array or by number, as an array in memory."""
        if isinstance(rows, slice):
            return self._run(*rows.indices(len(self)))
        rows = np.asarray(rows)
        wanted = np.where(rows < 0, rows + len(self), rows)
        out = np.empty((*wanted.shape, self.shape[1]), self.dtype)
        flat, rest = wanted.ravel(), out.reshape(wanted.size, self.shape[1])
        shard = np.searchsorted(self.starts, flat, side="right") - 1
        # Sorted, so that the work grows with the rows and not with rows times parts.
        order = np.argsort(shard, kind="stable")
        numbers, firsts = np.unique(shard[order], return_index=True)
        for number, here in zip(numbers, np.split(order, firsts[1:]), strict=False):
            rest[here] = self.parts[number][flat[here] - self.starts[number]]
        return out

    def _run(self, start: int, stop: int, step: int) -> np.ndarray:
        if step != 1:
            return self[np.arange(start, stop, step)]
        out = np.empty((max(0, stop - start), self.shape[1]), self.dtype)
        # Only the parts that hold the rows: a folder may have tens of thousands.
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        for number in range(first, last) if stop > start else ():
            base, end = int(self.starts[number]), int(self.starts[number + 1])
            here, there = max(start, base), min(stop, end)
            if here < there:
                out[here - start : there - start] = self.parts[number][here - base : there - base]
        return out


class Window(Lazy):
    """Rows start to stop of other vectors, as an array [stop - start, D]."""

    def __init__(self, whole: VectorArray, start: int, stop: int) -> None:
        self.whole, self.start = whole, start
        self.shape = (stop - start, whole.shape[1])
        self.dtype = whole.dtype

    def __getitem__(self, rows: Rows) -> np.ndarray:
        """Rows by slice, by index array or by number, as an array."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            return np.asarray(self.whole[start + self.start : stop + self.start : step])
        return np.asarray(self.whole[np.asarray(rows) % max(1, len(self)) + self.start])


class Picked(Lazy):
    """Some rows of other vectors, by number, as an array [n, D]."""

    def __init__(self, whole: VectorArray, rows: np.ndarray) -> None:
        self.whole, self.rows = whole, rows
        self.shape = (len(rows), whole.shape[1])
        self.dtype = whole.dtype

    def __getitem__(self, rows: Rows) -> np.ndarray:
        """Rows by slice, by index array or by number, as an array."""
        return np.asarray(self.whole[self.rows[rows]])


class SideBySide(Lazy):
    """The vectors of several models, one beside the other, as one float32 array [N, sum of D_m]."""

    def __init__(self, parts: Sequence[VectorArray]) -> None:
        self.parts = list(parts)
        self.shape = (len(parts[0]), sum(part.shape[1] for part in parts))
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, rows: Rows) -> np.ndarray:
        """Rows by slice, by index array or by number, as an array in memory."""
        return np.concatenate([np.asarray(part[rows], np.float32) for part in self.parts], axis=-1)


class Computed(Lazy):
    """Vectors that a function makes when they are read, float32 [N, D].

    Args:
        make: the vectors of a run of rows.
        shape: (N, D).
    """

    def __init__(self, make: Callable[[slice], np.ndarray], shape: tuple[int, int]) -> None:
        self.make = make
        self.shape = shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, rows: Rows) -> np.ndarray:
        """Rows by slice; those of an index array or a number are cut from the run they lie in."""
        if isinstance(rows, slice):
            return self.make(rows)
        numbers = np.asarray(rows) % max(1, len(self))
        if not numbers.size:
            return np.empty((*numbers.shape, self.shape[1]), self.dtype)
        first = int(numbers.min())
        run = self.make(slice(first, int(numbers.max()) + 1))
        return np.asarray(run[numbers - first])
