"""The ids of a gallery of which a ranking lists a few: these, and what tells the gallery from others."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from ..errors import ArtefactError, DataError
from .archive import unique_ids
from .arrays import IntArray, StringArray
from .id_column import IdColumn, digest_ids

MERGED = "merged "  # what the digest of a gallery begins with that was searched in parts


class ListedIds:
    """The ids of the images that a ranking lists, by their rows; the gallery itself is elsewhere.

    Ids of other rows, or all ids, are read from the file of the gallery's ids, as long as it is where
    it was.

    Args:
        rows: [L] int64, rising: the rows of the gallery that are known.
        names: [L] strings, their ids.
        count: how many images the gallery holds.
        digest: of the gallery's ids, as `digest_ids` tells it.
        file: of the gallery's ids, "" where there is none.

    Raises:
        DataError: rows and names do not fit together or into the gallery, or an id stands twice.
    """

    def __init__(
        self, rows: Any, names: StringArray, count: int, digest: str, file: str = ""
    ) -> None:
        self.rows: IntArray = np.asarray(rows, np.int64)
        self.names = unique_ids(names, "gallery")
        self.count, self.digest, self.file = count, digest, file
        if self.rows.shape != self.names.shape:
            raise DataError(f"{len(self.rows)} rows of the gallery for {len(self.names)} ids")
        if len(self.rows) and not (
            0 <= self.rows[0] and self.rows[-1] < count and (np.diff(self.rows) > 0).all()
        ):
            raise DataError(f"the rows of the ids do not rise within a gallery of {count}")

    @classmethod
    def pick(cls, ids: Ids, indices: IntArray) -> ListedIds:
        """Those of some ids whose rows stand in `indices`; -1 is none."""
        rows = np.unique(indices[indices >= 0])
        if isinstance(ids, ListedIds):
            return cls(rows, ids[rows], len(ids), ids.digest, ids.file)
        file = ids.file if isinstance(ids, IdColumn) else ""
        return cls(rows, np.asarray(ids[rows], str), len(ids), digest_ids(ids), file)

    @classmethod
    def join(cls, parts: Sequence[ListedIds]) -> ListedIds:
        """What several rankings of one gallery know of it."""
        first = parts[0]
        rows = np.concatenate([part.rows for part in parts])
        names = np.concatenate([part.names for part in parts])
        rows, where = np.unique(rows, return_index=True)
        file = next((part.file for part in parts if part.file), "")
        return cls(rows, names[where], first.count, first.digest, file)

    @classmethod
    def chain(cls, parts: Sequence[ListedIds]) -> ListedIds:
        """What is known of galleries that stand one below the other as one.

        Raises:
            DataError: an id stands in two of them, as far as they are listed.
        """
        starts = np.cumsum([0, *(part.count for part in parts)])
        rows = [part.rows + start for part, start in zip(parts, starts[:-1], strict=True)]
        names = np.concatenate([part.names for part in parts])
        digest = MERGED + digest_ids([part.digest for part in parts])
        return cls(np.concatenate(rows), names, int(starts[-1]), digest)

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int]:
        """(N,)."""
        return (self.count,)

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: slice | np.ndarray) -> StringArray: ...
    def __getitem__(self, rows: int | slice | np.ndarray) -> str | StringArray:
        """The id of a row, or those of several as numpy's strings.

        Raises:
            ArtefactError: one is not listed, and the file of the ids is not there.
        """
        if isinstance(rows, slice):
            return self.whole()[rows]
        wanted = np.asarray(rows)
        wanted = np.flatnonzero(wanted) if wanted.dtype == bool else wanted.astype(np.int64)
        if not np.isin(wanted, self.rows).all():
            return self.whole()[rows]
        at = np.searchsorted(self.rows, wanted)
        return self.names[at] if wanted.ndim else str(self.names[at])

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.whole(), dtype)

    def tolist(self) -> list[str]:
        """All ids of the gallery."""
        return self.whole().tolist()

    def whole(self) -> IdColumn:
        """All ids of the gallery, from their file.

        Raises:
            ArtefactError: it is not there any more, holds other ids, or its bytes were changed.
        """
        try:
            found = IdColumn.load(self.file) if self.file else None
        except (ArtefactError, DataError):
            found = None
        if found is None or (len(found), found.digest) != (self.count, self.digest):
            raise ArtefactError(
                f"the ranking tells the ids of the {len(self.rows)} images it lists, and not of all"
                f" {self.count} of its gallery: give the gallery it was searched in (--gallery, or"
                " in Python ranking.with_gallery(gallery.ids))"
            )
        state = os.stat(self.file)
        _verify(self.file, state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
        return found


@functools.lru_cache(maxsize=64)
def _verify(file: str, *state: int) -> None:
    """Compare a file of ids with the digest inside it, once while its state is this one."""
    IdColumn.load(file).verify()


# Ids [N] in one of their forms; all give one id by number and several as an array of strings.
Ids = np.ndarray | IdColumn | ListedIds


def same_ids(one: Ids, other: Ids) -> bool:
    """Whether two are the ids of the same images in the same order: by their digests, or where
    a gallery was searched in parts, by the ids that are listed.
    """
    if one is other or len(one) != len(other):
        return one is other
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    for listed, ids in ((one, other), (other, one)):
        if isinstance(listed, ListedIds) and listed.digest.startswith(MERGED):
            return _same_listed(listed, ids)
    return _digest(one) == _digest(other)


def _same_listed(listed: ListedIds, ids: Ids) -> bool:
    if isinstance(ids, ListedIds) and ids.digest.startswith(MERGED):
        return listed.digest == ids.digest
    rows = np.intersect1d(listed.rows, ids.rows) if isinstance(ids, ListedIds) else listed.rows
    return bool(np.array_equal(listed[rows], np.asarray(ids[rows], str)))


def _digest(ids: Ids) -> str:
    return ids.digest if isinstance(ids, (IdColumn, ListedIds)) else digest_ids(np.asarray(ids))


def check_ids(ids: Any, what: str) -> Ids:
    """Ids in one of their forms, each once.

    Args:
        ids: a list of strings, or one of the forms of `Ids`.
        what: what an error calls them.

    Raises:
        DataError: they are no list of strings, or one stands twice.
    """
    if isinstance(ids, IdColumn):
        ids.check_unique(what)
    if isinstance(ids, (IdColumn, ListedIds)):
        return ids
    return unique_ids(ids, what)
