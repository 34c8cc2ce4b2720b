"""ItemTable: millions of images as a few arrays; an Item is made when it is asked for."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from ..errors import ArtefactError
from ..io.atomic import atomic
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from .item import Item

FORMAT = 1
COLUMNS = ("ids", "codes", "kinds")


class Kind(NamedTuple):
    """What images of one kind share: the split, and the folder their files lie below."""

    split: str
    root: str


class Mapped(NamedTuple):
    """Rows `start` to `stop` of the columns in a folder, as `ItemTable.save` writes them."""

    folder: str
    start: int
    stop: int

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Memory maps of ids, codes and kinds: processes that read them share one copy in
        memory.
        """
        ids, codes, kinds = (
            np.load(pathlib.Path(self.folder) / f"{name}.npy", mmap_mode="r")[
                self.start : self.stop
            ]
            for name in COLUMNS
        )
        return ids, codes, kinds


class ItemTable(Sequence[Item]):
    """Images as columns, 21 bytes each for ids of 16 letters; rows are `Item`s, made when asked
    for.

    Items in a folder are memory-mapped and go to other processes as the folder's name, however
    these were started.

    Args:
        ids: [N] byte strings of one width, UTF-8.
        codes: [N] int32, which of `labels`; -1 for an image without.
        kinds: [N] uint8, which of `of`.
        labels: the classes, in the order a model numbers them in.
        of: what the kinds are.
        layout: an id to its file below the folder of its kind; a function of a module, so that it
            can be sent.
        source: where the columns lie.
    """

    def __init__(
        self,
        ids: np.ndarray,
        codes: np.ndarray,
        kinds: np.ndarray,
        labels: Sequence[str],
        of: Sequence[Kind],
        layout: Callable[[str], str],
        source: Mapped | None = None,
    ) -> None:
        if not len(ids) == len(codes) == len(kinds):
            raise ValueError(
                f"{len(ids)} ids, {len(codes)} codes and {len(kinds)} kinds: must be as many"
            )
        self.ids, self.codes, self.kinds = ids, codes, kinds
        self.labels, self.of, self.layout, self.source = (
            labels,
            tuple(Kind(*kind) for kind in of),
            layout,
            source,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, rows: int) -> Item: ...
    @overload
    def __getitem__(self, rows: slice | np.ndarray) -> ItemTable: ...
    def __getitem__(self, rows: int | slice | np.ndarray) -> Item | ItemTable:
        """The Item of a row; the ItemTable of a slice or of an array of rows."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._run(start, max(start, stop))
            rows = np.arange(start, stop, step)
        if isinstance(rows, np.ndarray):
            return self._of(self.ids[rows], self.codes[rows], self.kinds[rows])
        if not -len(self) <= rows < len(self):
            raise IndexError(f"row {rows} of {len(self)}")
        code = int(self.codes[rows])
        name = self.ids[rows].decode()
        split, root = self.of[self.kinds[rows]]
        return Item(
            os.path.join(root, self.layout(name)),
            self.labels[code] if code >= 0 else "",
            "",
            split,
            name,
        )

    def __iter__(self) -> Iterator[Item]:
        return (self[row] for row in range(len(self)))

    def __add__(self, other: Sequence[Item]) -> Sequence[Item]:
        """Both, one after the other; a list where they have different classes or layouts."""
        if not isinstance(other, ItemTable):
            return [*self, *other]
        alike = (other.of, other.layout) == (self.of, self.layout)
        if not alike or other.labels != self.labels:
            return [*self, *other]
        return self._of(*self._concatenate(other))

    def with_split(self, split: str) -> ItemTable:
        """The images of a split; where they stand side by side nothing is copied."""
        wanted = [number for number, kind in enumerate(self.of) if kind.split == split]
        rows = np.flatnonzero(np.isin(self.kinds, wanted))
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
            return self._run(int(rows[0]), int(rows[-1]) + 1)
        return self[rows]

    def all_trained_on(self) -> ItemTable:
        """Every image once more as a training image, unless it is one."""
        trained = self.with_split("train")
        rest = self[np.flatnonzero(~self._stands_in(trained))]
        of = [*self.of, *(Kind("train", kind.root) for kind in self.of)]
        first = np.unique(rest._names(), return_index=True)[1]
        first = first[np.argsort(rest.ids[first], kind="stable")]
        more = self._of(
            rest.ids[first], rest.codes[first], (rest.kinds[first] + len(self.of)).astype(np.uint8)
        )
        return ItemTable(*self._concatenate(more), self.labels, of, self.layout)

    def _names(self) -> np.ndarray:
        """The number of every image's root and its id, [N]: what tells one image from another."""
        roots = list(dict.fromkeys(kind.root for kind in self.of))
        of_kind = np.array([f"{roots.index(kind.root)}/".encode() for kind in self.of])
        return np.char.add(of_kind[self.kinds], self.ids)

    def _stands_in(self, other: ItemTable) -> np.ndarray:
        """Whether every image stands in another table of the same kinds, [N]."""
        return np.isin(self._names(), other._names())

    @property
    def paths(self) -> Paths:
        """The files, without anything a loader worker has no need of."""
        return Paths(
            ItemTable(self.ids, self.codes, self.kinds, (), self.of, self.layout, self.source)
        )

    def save(self, folder: PathLike, **told: Any) -> None:
        """Write the columns into a folder, and last the page that makes them count; `told` goes
        into it.
        """
        folder = pathlib.Path(folder)
        # What stood here before no longer counts: its page must not stand for other columns.
        (folder / "items.json").unlink(missing_ok=True)
        for name, column in zip(COLUMNS, self._columns(), strict=True):
            with atomic(folder / f"{name}.npy") as file:
                np.save(file, column, allow_pickle=False)
        with atomic(folder / "labels.npy") as file:
            np.save(file, np.asarray(self.labels, str), allow_pickle=False)
        of = [list(kind) for kind in self.of]
        write_json(folder / "items.json", {**told, "format": FORMAT, "rows": len(self), "of": of})

    @classmethod
    def load(cls, folder: PathLike, layout: Callable[[str], str]) -> ItemTable:
        """Open what `save` wrote, memory-mapped.

        Raises:
            DataError: nothing is there. ArtefactError: it is not whole.
        """
        page = read_json(pathlib.Path(folder) / "items.json")
        try:
            source = Mapped(os.path.abspath(folder), 0, page["rows"])
            labels = np.load(pathlib.Path(folder) / "labels.npy").tolist()
            found = cls(
                *source.columns(), labels, [Kind(*kind) for kind in page["of"]], layout, source
            )
        except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
            raise ArtefactError(f"{folder}: not whole ({error}): delete it") from error
        if page.get("format") != FORMAT or len(found) != page["rows"]:
            raise ArtefactError(
                f"{folder}: not {page.get('rows')} items of format {FORMAT}: delete it"
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.source is not None:
            state |= dict.fromkeys(COLUMNS)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.source is not None:
            self.ids, self.codes, self.kinds = self.source.columns()

    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.ids, self.codes, self.kinds

    def _concatenate(self, other: ItemTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.codes, other.codes]),
            np.concatenate([self.kinds, other.kinds]),
        )

    def _run(self, start: int, stop: int) -> ItemTable:
        source = None
        if self.source is not None:
            source = Mapped(self.source.folder, self.source.start + start, self.source.start + stop)
        return self._of(
            self.ids[start:stop], self.codes[start:stop], self.kinds[start:stop], source
        )

    def _of(
        self, ids: np.ndarray, codes: np.ndarray, kinds: np.ndarray, source: Mapped | None = None
    ) -> ItemTable:
        return ItemTable(ids, codes, kinds, self.labels, self.of, self.layout, source)


class Paths(Sequence[str]):
    """The files of Items, made when asked for."""

    def __init__(self, items: ItemTable) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: slice) -> Paths: ...
    def __getitem__(self, rows: int | slice) -> str | Paths:
        """The file of a row; Paths of a slice."""
        if isinstance(rows, slice):
            return Paths(self._items[rows])
        items = self._items
        return os.path.join(
            items.of[items.kinds[rows]].root, items.layout(items.ids[rows].decode())
        )


def with_split(items: Sequence[Item], split: str) -> Sequence[Item]:
    """The items of a split: a list of a list, Items of Items."""
    if isinstance(items, ItemTable):
        return items.with_split(split)
    return [item for item in items if item.split == split]


def paths_of(items: Sequence[Item]) -> Sequence[str]:
    """The files of items, as a list or, of Items, made when asked for."""
    return items.paths if isinstance(items, ItemTable) else [item.path for item in items]
