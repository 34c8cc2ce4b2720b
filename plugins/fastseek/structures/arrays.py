"""Arrays that may lie on disk, whole, joined or in part, read only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Shards:
    """Several [n_i, D] arrays seen as one [N, D] array; rows are read only when asked for."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = list(parts)
        self.starts = np.cumsum([0] + [len(part) for part in self.parts])
        self.shape = (int(self.starts[-1]), parts[0].shape[1])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray | int) -> np.ndarray:
        """Rows by slice, by index array or by number, as an array in memory."""
        if isinstance(rows, slice):
            return self._run(*rows.indices(len(self)))
        rows = np.asarray(rows)
        wanted = np.where(rows < 0, rows + len(self), rows)
        out = np.empty((*wanted.shape, self.shape[1]), self.dtype)
        shard = np.searchsorted(self.starts, wanted, side="right") - 1
        for number in np.unique(shard):
            here = shard == number
            out[here] = self.parts[number][wanted[here] - self.starts[number]]
        return out

    def _run(self, start: int, stop: int, step: int) -> np.ndarray:
        if step != 1:
            return self[np.arange(start, stop, step)]
        pieces = [
            part[max(start - base, 0) : max(stop - base, 0)]
            for part, base in zip(self.parts, self.starts[:-1], strict=True)
        ]
        return np.concatenate(pieces) if pieces else np.empty((0, self.shape[1]), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class Window:
    """Rows start to stop of an array, memory map or `Shards`, seen as an array [stop - start,
    D].
    """

    def __init__(self, whole: Any, start: int, stop: int) -> None:
        self.whole, self.start = whole, start
        self.shape, self.dtype = (stop - start, whole.shape[1]), whole.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray | int) -> np.ndarray:
        """Rows by slice, by index array or by number, as an array."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            return self.whole[start + self.start : stop + self.start : step]
        return self.whole[np.asarray(rows) % max(1, len(self)) + self.start]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class Picked:
    """Some rows, by number, of an array, memory map or `Shards`, seen as an array [n, D]."""

    def __init__(self, whole: Any, rows: np.ndarray) -> None:
        self.whole, self.rows = whole, rows
        self.shape, self.dtype = (len(rows), whole.shape[1]), whole.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray | int) -> np.ndarray:
        """Rows by slice, by index array or by number, as an array."""
        return self.whole[self.rows[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)
