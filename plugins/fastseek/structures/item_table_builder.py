"""ItemTableBuilder: a table of images from blocks of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .item import Item
from .item_columns import CodeCollector, TextCollector, ValueCollector
from .item_table import ABSENT, Details, ItemTable, Kind

SPLITS = ("train", "query", "gallery", "test", "distractor")
BLOCK = 16384  # items that are taken at a time


def as_table(items: Sequence[Item]) -> ItemTable:
    """A table as it is, or a list of items as one."""
    if isinstance(items, ItemTable):
        return items
    builder = ItemTableBuilder([Kind(split, "") for split in SPLITS])
    names = dict.fromkeys(name for item in items for name in item.meta)
    for start in range(0, len(items), BLOCK):
        block = items[start : start + BLOCK]
        builder.add(
            [item.id for item in block],
            [SPLITS.index(item.split) for item in block],
            [item.label for item in block],
            [item.path for item in block],
            [item.group for item in block],
            {name: [item.meta.get(name, ABSENT) for item in block] for name in names},
        )
    return builder.build()


class ItemTableBuilder:
    """Collects images block by block; what is held is what the table will hold.

    Args:
        of: what the kinds of images are; more may be added meanwhile.
    """

    def __init__(self, of: Sequence[Kind]) -> None:
        self.of = list(of)
        self._ids, self._labels = TextCollector(), CodeCollector("i")
        self._kinds: list[np.ndarray] = []
        self._names: TextCollector | None = None
        self._groups: ValueCollector | None = None
        self._meta: dict[str, ValueCollector] = {}
        self.count = 0

    def add(
        self,
        ids: Sequence[str],
        kinds: Sequence[int] | int = 0,
        labels: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        meta: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """The next images.

        Args:
            ids: what they are called.
            kinds: which of `of`.
            labels: their classes, "" for none.
            names: what they are called below their root, where that is not the id.
            groups: camera or session, "" for none.
            meta: what else is known; the same columns in every block.
        """
        count = len(ids)
        self._add_names(ids, names)
        self._ids.add(ids)
        self._labels.add([""] * count if labels is None else labels)
        width = np.min_scalar_type(len(self.of))
        self._kinds.append(np.broadcast_to(np.asarray(kinds, width), (count,)).copy())
        if groups is not None and any(groups) and self._groups is None:
            self._groups = ValueCollector()
            self._groups.add([""] * self.count)
        if self._groups is not None:
            self._groups.add([""] * count if groups is None else groups)
        for name, values in (meta or {}).items():
            self._meta.setdefault(name, ValueCollector()).add(values)
        self.count += count

    def build(self) -> ItemTable:
        """The table, its classes in the order of the alphabet; nothing is added afterwards."""
        met = list(self._labels.known)
        labels = sorted(set(met) - {""})
        place = {"": -1, **{label: code for code, label in enumerate(labels)}}
        codes = np.array([place[label] for label in met], np.int32)
        return ItemTable(
            self._ids.column(),
            codes[np.frombuffer(self._labels.codes, np.int32)] if met else np.zeros(0, np.int32),
            np.concatenate([np.zeros(0, np.uint8), *self._kinds]),
            labels,
            self.of,
            Details(
                None if self._names is None else self._names.column(),
                None if self._groups is None else self._groups.column(),
                {name: column.column() for name, column in self._meta.items()},
            ),
        )

    def _add_names(self, ids: Sequence[str], names: Sequence[str] | None) -> None:
        if self._names is None:
            if names is None or list(names) == list(ids):
                return
            self._names = self._ids.copy()
        self._names.add(ids if names is None else names)
