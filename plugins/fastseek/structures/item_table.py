"""ItemTable: millions of images as a few arrays; an Item is made when it is asked for."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from ..errors import ArtefactError
from ..io.atomic import atomic
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from .id_column import IdColumn
from .item import Item
from .item_columns import (
    Column,
    Shared,
    Texts,
    find_first,
    join,
    join_meta,
    join_texts,
    number_values,
    take,
    text_at,
    value_at,
)

FORMAT = 1
COLUMNS = ("ids", "codes", "kinds")
ABSENT = "\0absent"  # in a row of a table that had no such column


class Kind(NamedTuple):
    """What images of one kind share: the split, and where their files lie.

    Args:
        split: "train", "query", "gallery", "test" or "distractor", as of an `Item`.
        root: the folder, or the archive, that holds the files.
        layout: what an image is called -> its file below the root; a function of a module, so that
            it can be sent.
        with_id: whether the id follows, as it tells people which image of an archive it is.
    """

    split: str
    root: str
    layout: Callable[[str], str] = str
    with_id: bool = False

    def path(self, name: str, image: str) -> str:
        """The file of an image.

        Args:
            name: what it is called below the root.
            image: its id.
        """
        path = os.path.join(self.root, self.layout(name))
        return f"{path}/{image}" if self.with_id else path


@dataclasses.dataclass(frozen=True)
class Details:
    """What only some tables know of their images.

    Args:
        names: [N], what images are called below their root, where that is not the id.
        groups: [N], camera or session.
        meta: what else is known, a column a name.
    """

    names: Texts | None = None
    groups: Column | None = None
    meta: Mapping[str, Column] = dataclasses.field(default_factory=dict)

    def take(self, rows: slice | np.ndarray) -> Details:
        """Some rows."""
        return Details(
            None if self.names is None else take(self.names, rows),
            None if self.groups is None else take(self.groups, rows),
            {name: take(column, rows) for name, column in self.meta.items()},
        )


NOTHING = Details()


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
    """Images as columns, some 20 bytes each beside the letters of the ids; rows are `Item`s, made
    when asked for.

    A table in a folder is memory-mapped and goes to other processes as the folder's name, however
    these were started.

    Args:
        ids: [N] byte strings of one width, UTF-8, or a column of letters.
        codes: [N] int32, which of `labels`; -1 for an image without.
        kinds: [N] unsigned, which of `of`.
        labels: the classes, in the order a model numbers them in.
        of: what the kinds are.
        details: names, groups and meta, where they are known.
    """

    def __init__(
        self,
        ids: Texts,
        codes: np.ndarray,
        kinds: np.ndarray,
        labels: Sequence[str],
        of: Sequence[Kind],
        details: Details = NOTHING,
    ) -> None:
        if not len(ids) == len(codes) == len(kinds):
            raise ValueError(
                f"{len(ids)} ids, {len(codes)} codes and {len(kinds)} kinds: must be as many"
            )
        self.ids, self.codes, self.kinds = ids, codes, kinds
        self.labels, self.of, self.details = labels, tuple(Kind(*kind) for kind in of), details
        self.source: Mapped | None = None  # where the columns lie on disk

    def __len__(self) -> int:
        return len(self.codes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

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
            return self._take(rows)
        if not -len(self) <= rows < len(self):
            raise IndexError(f"row {rows} of {len(self)}")
        row = int(rows) % len(self)
        image, code, kind = text_at(self.ids, row), int(self.codes[row]), self._kind(row)
        return Item(
            kind.path(self._name(row, image), image),
            self.labels[code] if code >= 0 else "",
            "" if self.details.groups is None else value_at(self.details.groups, row),
            kind.split,
            image,
            self._meta(row),
        )

    def __iter__(self) -> Iterator[Item]:
        return (self[row] for row in range(len(self)))

    def __add__(self, other: Sequence[Item]) -> Sequence[Item]:
        """Both, one after the other; a list where the other is one."""
        return join_tables([self, other]) if isinstance(other, ItemTable) else [*self, *other]

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        columns = [self.ids, self.codes, self.kinds, self.details.names, self.details.groups]
        return sum(map(_count_bytes, [*columns, *self.details.meta.values()]))

    def path(self, row: int) -> str:
        """The file of a row, 0 to N - 1."""
        kind = self._kind(row)
        image = text_at(self.ids, row) if self.details.names is None or kind.with_id else ""
        return kind.path(self._name(row, image), image)

    def number_groups(self) -> tuple[list[str], np.ndarray]:
        """The groups, sorted, and which of them every image has, int64 [N]."""
        return number_values(self.details.groups, len(self))

    def with_split(self, split: str) -> ItemTable:
        """The images of a split; where they stand side by side nothing is copied."""
        rows = np.flatnonzero(np.isin(self.kinds, self._kinds_of(split)))
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
            return self._run(int(rows[0]), int(rows[-1]) + 1)
        return self[rows]

    def in_split(self, split: str) -> ItemTable:
        """The same images, all of them in one split."""
        of = [kind._replace(split=split) for kind in self.of]
        return ItemTable(self.ids, self.codes, self.kinds, self.labels, of, self.details)

    def with_labels_sorted(self) -> ItemTable:
        """The same images, their classes in the order of the alphabet."""
        labels = sorted(self.labels)
        if labels == list(self.labels):
            return self
        return self._relabel(labels)

    def with_meta(self, name: str, value: str) -> ItemTable:
        """The same images with one more thing known of each of them."""
        column = Shared(np.zeros(len(self), np.uint16), [value])
        details = dataclasses.replace(self.details, meta={**self.details.meta, name: column})
        return ItemTable(self.ids, self.codes, self.kinds, self.labels, self.of, details)

    def with_prefix(self, prefix: str) -> ItemTable:
        """The same files under ids that begin with something."""
        ids = IdColumn.from_strings(prefix + text_at(self.ids, row) for row in range(len(self)))
        names = self.ids if self.details.names is None else self.details.names
        details = dataclasses.replace(self.details, names=names)
        return ItemTable(ids, self.codes, self.kinds, self.labels, self.of, details)

    def all_trained_on(self) -> ItemTable:
        """Every image once more as a training image, unless it is one."""
        first = self.first_of_file()
        trained = np.zeros(len(self), bool)
        trained[first[np.isin(self.kinds, self._kinds_of("train"))]] = True
        rest = self[np.flatnonzero((first == np.arange(len(self))) & ~trained)]
        return join_tables([self, rest.in_split("train")])

    def first_of_file(self) -> np.ndarray:
        """The row [N] int64 where the file of every row stands first: the same name below the same
        root.
        """
        names = self.ids if self.details.names is None else self.details.names
        places = [(kind.root, kind.layout) for kind in self.of]
        numbers = np.array([places.index(place) for place in places], np.int64)[self.kinds]
        first = np.arange(len(self))
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            first[rows] = rows[find_first(take(names, rows))]
        return first

    @property
    def paths(self) -> Paths:
        """The files, without anything a loader worker has no need of."""
        details = Details(self.details.names)
        bare = ItemTable(self.ids, self.codes, self.kinds, (), self.of, details)
        bare.source = self.source
        return Paths(bare)

    def save(self, folder: PathLike, **told: Any) -> None:
        """Write ids, codes and kinds into a folder, and last the page that makes them count; `told`
        goes into it.

        Raises:
            ValueError: the table has names, groups or meta, which are not kept.
        """
        if self.details != NOTHING or not isinstance(self.ids, np.ndarray):
            raise ValueError("a table with names, groups or meta is not kept in a folder")
        folder = pathlib.Path(folder)
        # What stood here before no longer counts: its page must not stand for other columns.
        (folder / "items.json").unlink(missing_ok=True)
        columns = (self.ids, self.codes, self.kinds)
        for name, column in zip(COLUMNS, columns, strict=True):
            with atomic(folder / f"{name}.npy") as file:
                np.save(file, column, allow_pickle=False)
        with atomic(folder / "labels.npy") as file:
            np.save(file, np.asarray(self.labels, str), allow_pickle=False)
        of = [[kind.split, kind.root] for kind in self.of]
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
            of = [Kind(split, root, layout) for split, root in page["of"]]
            found = cls(*source.columns(), labels, of)
        except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
            raise ArtefactError(f"{folder}: not whole ({error}): delete it") from error
        if page.get("format") != FORMAT or len(found) != page["rows"]:
            raise ArtefactError(
                f"{folder}: not {page.get('rows')} items of format {FORMAT}: delete it"
            )
        found.source = source
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

    def _kind(self, row: int) -> Kind:
        return self.of[int(self.kinds[row])]

    def _kinds_of(self, split: str) -> list[int]:
        return [number for number, kind in enumerate(self.of) if kind.split == split]

    def _name(self, row: int, image: str) -> str:
        return image if self.details.names is None else text_at(self.details.names, row)

    def _meta(self, row: int) -> dict[str, Any]:
        found = {name: value_at(column, row) for name, column in self.details.meta.items()}
        return {name: value for name, value in found.items() if value != ABSENT}

    def _relabel(self, labels: Sequence[str]) -> ItemTable:
        """The same images with other numbers for their classes, all of which are in `labels`."""
        place = {label: code for code, label in enumerate(labels)}
        # The last one stands for -1.
        codes = np.array([*(place[label] for label in self.labels), -1], np.int32)[self.codes]
        return ItemTable(self.ids, codes, self.kinds, labels, self.of, self.details)

    def _run(self, start: int, stop: int) -> ItemTable:
        made = self._take(slice(start, stop))
        if self.source is not None:
            first = self.source.start
            made.source = Mapped(self.source.folder, first + start, first + stop)
        return made

    def _take(self, rows: slice | np.ndarray) -> ItemTable:
        ids, codes, kinds = take(self.ids, rows), self.codes[rows], self.kinds[rows]
        return ItemTable(ids, codes, kinds, self.labels, self.of, self.details.take(rows))


class Paths(Sequence[str]):
    """The files of a table, made when asked for."""

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
        if not -len(self) <= rows < len(self):
            raise IndexError(f"row {rows} of {len(self)}")
        return self._items.path(int(rows) % len(self))


def join_tables(tables: Sequence[ItemTable]) -> ItemTable:
    """Tables, one after the other. Classes keep the first one's order, and sorted ones stay so."""
    if len(tables) == 1:
        return tables[0]
    of = list(dict.fromkeys(kind for table in tables for kind in table.of))
    width = np.min_scalar_type(max(0, len(of) - 1))
    kinds = []
    for table in tables:
        place = np.array([of.index(kind) for kind in table.of], width)
        kinds.append(place[table.kinds] if len(table) else np.zeros(0, width))
    labels = list(dict.fromkeys(label for table in tables for label in table.labels))
    if all(list(table.labels) == sorted(table.labels) for table in tables):
        labels.sort()
    same = all(list(table.labels) == labels for table in tables)
    codes = [(table if same else table._relabel(labels)).codes for table in tables]
    return ItemTable(
        join_texts([table.ids for table in tables]),
        np.concatenate(codes),
        np.concatenate(kinds),
        labels,
        of,
        _join_details(tables),
    )


def _join_details(tables: Sequence[ItemTable]) -> Details:
    details, counts = [table.details for table in tables], list(map(len, tables))
    names, groups = None, None
    if any(one.names is not None for one in details):
        known = [table.details.names for table in tables]
        names = join_texts(
            [table.ids if own is None else own for table, own in zip(tables, known, strict=True)]
        )
    if any(one.groups is not None for one in details):
        empty = [Shared(np.zeros(count, np.uint16), [""]) for count in counts]
        groups = join(
            [
                none if one.groups is None else one.groups
                for one, none in zip(details, empty, strict=True)
            ]
        )
    return Details(names, groups, join_meta([one.meta for one in details], counts, ABSENT))


def with_split(items: Sequence[Item], split: str) -> Sequence[Item]:
    """The items of a split: a list of a list, a table of a table."""
    if isinstance(items, ItemTable):
        return items.with_split(split)
    return [item for item in items if item.split == split]


def paths_of(items: Sequence[Item]) -> Sequence[str]:
    """The files of items, as a list or, of a table, made when asked for."""
    return items.paths if isinstance(items, ItemTable) else [item.path for item in items]


def join_items(parts: Sequence[Sequence[Item]]) -> Sequence[Item]:
    """Items, one after the other: a table where all are tables, else a list."""
    tables = [part for part in parts if isinstance(part, ItemTable)]
    if tables and len(tables) == len(parts):
        return tables[0] if len(tables) == 1 else join_tables(tables)
    return [item for part in parts for item in part]


def _count_bytes(column: Any) -> int:
    if column is None:
        return 0
    if isinstance(column, Shared):
        return int(column.codes.nbytes)
    if isinstance(column, IdColumn):
        return int(column.offsets.nbytes + column.offsets[-1] - column.offsets[0])
    return int(column.nbytes)
