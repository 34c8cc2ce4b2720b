"""The training photos as a table: classes, cameras and counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..structures import Item


class TrainSet:
    """Training items with their class codes: labels in sorted order are classes 0, 1, … as in fast-reid.

    Attributes: `items`; `classes` and `cameras`, sorted labels and groups; `labels` and `groups`, int64 [N];
    `counts`, photos a class, int64 [C].

    Args:
        items: the training photos.

    Raises:
        DataError: there are none, or one has no label.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        if not self.items:
            raise DataError("DATASETS.NAMES gives no training photos: expected items of the split 'train'")
        nameless = [item.path for item in self.items if not item.label]
        if nameless:
            raise DataError(f"{nameless[0]} has no label, nor have {len(nameless) - 1} others: training needs a class "
                            "for every photo")
        self.classes, self.labels = codes([item.label for item in self.items])
        self.cameras, self.groups = codes([item.group for item in self.items])
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


def codes(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The sorted distinct names, and the place of every name among them, int64 [N]."""
    known = sorted(set(names))
    place = {name: code for code, name in enumerate(known)}
    return known, np.fromiter((place[name] for name in names), np.int64, len(names))
