"""Some rows of an array that may lie on disk, read only when asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..structures import Embeddings


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


def part_of(embeddings: Embeddings, start: int, stop: int) -> Embeddings:
    """Rows start to stop of some embeddings, the vectors not read."""
    stop = min(stop, len(embeddings))
    return Embeddings(
        embeddings.ids[start:stop], Window(embeddings.vectors, start, stop), embeddings.passport
    )
