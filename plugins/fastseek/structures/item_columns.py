"""Columns of a table of images: texts, numbers, and values that many rows share."""

from __future__ import annotations

import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .id_column import IdColumn
from .letters import CODE

MOST_SHARED = 1 << 16  # different values of a column that are numbered; more are kept row by row
WHOLE = range(-(1 << 63), 1 << 63)  # what fits into 64 bits


class Shared(Sequence[Any]):
    """A column of few different values, two bytes a row.

    Args:
        codes: [N] uint16, which of `values`.
        values: what rows hold.
    """

    def __init__(self, codes: np.ndarray, values: Sequence[Any]) -> None:
        self.codes, self.values = codes, values

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: Any) -> Any:
        """The value of a row."""
        return self.values[self.codes[row]]


Texts = np.ndarray | IdColumn  # fixed-width byte strings, or letters and where each text ends
Column = Texts | Shared


def take(column: Any, rows: slice | np.ndarray) -> Any:
    """Some rows of a column; a run of them is not copied."""
    if isinstance(column, Shared):
        return Shared(column.codes[rows], column.values)
    if not isinstance(column, IdColumn):
        return column[rows]
    if isinstance(rows, slice):
        return column.part(rows.start, rows.stop)
    wanted = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
    wanted = np.where(wanted < 0, wanted + len(column), wanted)
    if len(wanted) and (np.diff(wanted) == 1).all():
        return column.part(int(wanted[0]), int(wanted[-1]) + 1)
    return column.take(wanted)


def text_at(column: Texts, row: int) -> str:
    """The text of a row, 0 to N - 1."""
    if not isinstance(column, IdColumn):
        return bytes(column[row]).decode(*CODE)
    letters = column.letters[column.offsets[row] : column.offsets[row + 1]]
    return letters.tobytes().decode(*CODE)


def value_at(column: Column, row: int) -> Any:
    """What stands in a row, as Python's own."""
    if isinstance(column, IdColumn):
        return text_at(column, row)
    value = column[row]
    return value.item() if isinstance(value, np.generic) else value


def as_letters(column: Texts) -> IdColumn:
    """Texts of any width as one column."""
    if isinstance(column, IdColumn):
        return column
    texts = TextCollector()
    texts.add([text_at(column, row) for row in range(len(column))])
    return texts.column()


def join(columns: Sequence[Any]) -> Any:
    """Columns one below the other; those of one kind stay of it."""
    if all(isinstance(one, Shared) for one in columns):
        return _join_shared(columns)
    kinds = {one.dtype.kind if isinstance(one, np.ndarray) else type(one) for one in columns}
    if kinds == {IdColumn}:
        return IdColumn.concatenate(columns)
    if len(kinds) == 1:
        return np.concatenate(columns)
    collected = ValueCollector()
    for one in columns:
        collected.add([value_at(one, row) for row in range(len(one))])
    return collected.column()


def join_texts(columns: Sequence[Texts]) -> Texts:
    """Texts one below the other."""
    if all(isinstance(one, np.ndarray) for one in columns):
        return np.concatenate([np.asarray(one) for one in columns])
    return IdColumn.concatenate([as_letters(one) for one in columns])


def find_first(column: Texts) -> np.ndarray:
    """The row [N] int64 where the text of every row stands first."""
    rows = np.arange(len(column))
    if isinstance(column, np.ndarray):
        _, first, which = np.unique(column, return_index=True, return_inverse=True)
        return np.asarray(first[which])
    whole = column.part(0, len(column))  # a view: what it sorts goes with it
    return rows if whole.find_repeated() is None else whole.find(whole)


def number_values(column: Column | None, count: int) -> tuple[list[str], np.ndarray]:
    """The different texts of a column, sorted, and which of them every row has, int64 [N]; one
    empty text where there is no column.
    """
    if column is None:
        return [""], np.zeros(count, np.int64)
    if not isinstance(column, Shared):
        names, codes = np.unique(np.asarray(column).astype(str), return_inverse=True)
        return names.tolist(), codes.astype(np.int64, copy=False)
    met = np.unique(column.codes).tolist()
    known = sorted(met, key=column.values.__getitem__)
    place = np.zeros(len(column.values), np.int64)
    place[known] = np.arange(len(known))
    return [column.values[code] for code in known], place[column.codes]


class TextCollector:
    """Texts that come block by block, as letters and offsets."""

    def __init__(self) -> None:
        self._letters, self._ends = bytearray(), [np.zeros(1, np.int64)]

    def add(self, texts: Sequence[str]) -> None:
        """The next ones."""
        joined = "".join(texts)
        letters = joined.encode(*CODE)
        if len(letters) == len(joined):
            lengths: Iterable[int] = map(len, texts)
        else:
            lengths = (len(text.encode(*CODE)) for text in texts)
        ends = np.fromiter(lengths, np.int64, len(texts)).cumsum()
        self._ends.append(ends + len(self._letters))
        self._letters += letters

    def copy(self) -> TextCollector:
        """One that has the same texts, and gets others."""
        made = TextCollector()
        made._letters, made._ends = self._letters.copy(), list(self._ends)
        return made

    def column(self) -> IdColumn:
        """All of them; nothing is added afterwards."""
        letters = np.frombuffer(self._letters, np.uint8)
        return IdColumn(letters, np.concatenate(self._ends))


class CodeCollector:
    """The number of every value that comes, in the order they are met in.

    Args:
        kind: of the numbers, as `array` calls it.
    """

    def __init__(self, kind: str) -> None:
        self.known: dict[Any, int] = {}
        self.codes = array.array(kind)

    def add(self, values: Sequence[Any]) -> None:
        """The next ones."""
        known = self.known
        for value in dict.fromkeys(values):
            known.setdefault(value, len(known))
        self.codes.extend(map(known.__getitem__, values))


class ValueCollector:
    """Values that come block by block: numbered while few are different, then as texts, numbers or
    objects.
    """

    def __init__(self) -> None:
        self._shared: CodeCollector | None = CodeCollector("H")
        self._texts: TextCollector | None = None
        self._blocks: list[np.ndarray] = []

    def add(self, values: Sequence[Any]) -> None:
        """The next ones."""
        if self._shared is not None:
            # 1, 1.0 and True are one key of a dict, and what cannot be hashed is none.
            told = set(map(type, values)) <= {str, type(None)}
            known = self._shared.known
            if told and len(known) + len(set(values) - known.keys()) < MOST_SHARED:
                self._shared.add(values)
                return
            before, self._shared = self._unnumbered(), None
            if all(type(value) is str for value in before or values):
                self._texts = TextCollector()
            self._keep(before)
        self._keep(values)

    def column(self) -> Column:
        """All of them; nothing is added afterwards."""
        if self._shared is not None:
            codes = np.frombuffer(self._shared.codes, np.uint16)
            return Shared(codes, list(self._shared.known))
        if self._texts is not None:
            return self._texts.column()
        kinds = {one.dtype.kind for one in self._blocks}
        if len(kinds) > 1:
            return np.concatenate([one.astype(object) for one in self._blocks])
        return np.concatenate(self._blocks)

    def _unnumbered(self) -> list[Any]:
        assert self._shared is not None
        values = list(self._shared.known)
        return [values[code] for code in self._shared.codes]

    def _keep(self, values: Sequence[Any]) -> None:
        if not len(values):
            return
        if self._texts is not None and all(type(value) is str for value in values):
            self._texts.add(values)
            return
        if self._texts is not None:
            texts, self._texts = self._texts.column(), None
            self._blocks.append(_as_array(list(texts)))
        self._blocks.append(_as_array(values))


def _as_array(values: Sequence[Any]) -> np.ndarray:
    """Numbers as numpy's, everything else as objects."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return np.array(values, np.float64)
    if kinds == {int} and all(value in WHOLE for value in values):
        return np.array(values, np.int64)
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _join_shared(columns: Sequence[Shared]) -> Column:
    values = list(dict.fromkeys(value for one in columns for value in one.values))
    if len(values) > MOST_SHARED:
        collected = ValueCollector()
        for one in columns:
            collected.add(list(one))
        return collected.column()
    place = {value: code for code, value in enumerate(values)}
    parts = []
    for one in columns:
        codes = np.array([place[value] for value in one.values], np.uint16)
        parts.append(codes[one.codes] if len(codes) else one.codes)
    return Shared(np.concatenate(parts), values)


def join_meta(
    metas: Sequence[Mapping[str, Column]], counts: Sequence[int], absent: Any
) -> dict[str, Column]:
    """The columns of several tables, one below the other; `absent` stands where a table has none."""
    names = dict.fromkeys(name for meta in metas for name in meta)
    return {
        name: join(
            [
                meta[name] if name in meta else Shared(np.zeros(count, np.uint16), [absent])
                for meta, count in zip(metas, counts, strict=True)
            ]
        )
        for name in names
    }
