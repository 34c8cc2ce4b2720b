"""The training images as a table: classes, cameras and counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..structures import Item, ItemTable


class TrainSet:
    """Training items with their class codes: classes 0, 1, … are the labels in the order `columns`
    tells.

    Attributes: `items`; `classes` and `cameras`, the names of labels and groups; `labels` and
    `groups`, int64 [N], their codes; `counts`, images a class, int64 [C].

    Args:
        items: the training images.

    Raises:
        DataError: there are none, or one has no label.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items if isinstance(items, ItemTable) else list(items)
        if not len(self.items):
            raise DataError(
                "DATASETS.NAMES gives no training images: expected items of the split 'train'"
            )
        (self.classes, self.labels), (self.cameras, self.groups) = columns(self.items)
        if "" in self.classes:
            rows = np.flatnonzero(self.labels == self.classes.index(""))
            raise DataError(
                f"{self.items[int(rows[0])].path} has no label, nor have {len(rows) - 1}"
                " others: training needs a class for every image"
            )
        self.counts = np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def num_classes(self) -> int:
        """How many classes."""
        return len(self.classes)

    @property
    def num_cameras(self) -> int:
        """How many groups; 1 when none is known."""
        return len(self.cameras)


def columns(
    items: Sequence[Item],
) -> tuple[tuple[list[str], np.ndarray], tuple[list[str], np.ndarray]]:
    """Labels and groups of items: the distinct ones, and which of them every item has, int64 [N].

    Labels stand in sorted order as in fast-reid; those of Items in the order Items has them in, for
    Items from a contest know the order its class numbers have.
    """
    if not isinstance(items, ItemTable):
        return codes([item.label for item in items]), codes([item.group for item in items])
    # Only classes that occur get a number; a contest's order of labels is kept.
    known, labels = np.unique(items.codes, return_inverse=True)
    names = [items.labels[code] if code >= 0 else "" for code in known.tolist()]
    return (names, labels.astype(np.int64, copy=False)), items.number_groups()


def codes(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The sorted distinct names, and the place of every name among them, int64 [N]."""
    known = sorted(set(names))
    place = {name: code for code, name in enumerate(known)}
    return known, np.fromiter((place[name] for name in names), np.int64, len(names))
