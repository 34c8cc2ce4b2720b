"""A labelled data set as if most of its labels were unknown, to measure what can be learned without
them.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from ..errors import DataError, UsageError
from ..structures import Item, with_split


@dataclasses.dataclass(frozen=True)
class Hidden:
    """The parts of a data set.

    Args:
        labelled: training images with their labels.
        unlabelled: training images without, of known classes and of others.
        validation: test images of the known classes.
        truth: id -> class of every unlabelled image; only for measuring.
    """

    labelled: tuple[Item, ...]
    unlabelled: tuple[Item, ...]
    validation: tuple[Item, ...]
    truth: dict[str, str]

    @property
    def outside(self) -> float:
        """Share of the unlabelled images that are of none of the known classes."""
        known = {item.label for item in self.labelled}
        return sum(label not in known for label in self.truth.values()) / max(len(self.truth), 1)


def hide(
    items: Sequence[Item],
    classes: float,
    shots: tuple[int, int],
    folder: int | None = None,
    seed: int = 0,
) -> Hidden:
    """Hide labels: a few images of some classes keep theirs, all others lose it.

    An image with a label keeps it from `shots[1]` images of the first class down to `shots[0]` of
    the last, falling geometrically in the random order of the classes: a long tail. A class keeps
    at least one image without a label.

    Args:
        items: with splits "train" (to learn from) and "query" (to validate with).
        classes: how many of the classes are known; below 1, which share.
        shots: the fewest and the most labelled images of a class.
        folder: which folder of the id is the group (0 the first); None keeps the items' own groups.
        seed: of classes and images.

    Raises:
        UsageError: impossible numbers. DataError: a split is missing, or a class too small.
    """
    train = with_split(items, "train")
    names = sorted({item.label for item in train if item.label})
    known = round(classes * len(names)) if classes < 1 else int(classes)
    if not 0 < known <= len(names) or not 1 <= shots[0] <= shots[1]:
        raise UsageError(
            f"of {len(names)} classes {classes} were to be known, with {tuple(shots)} labelled"
            " images: expected 1 or more, no more than there are, and the fewest first"
        )
    random = np.random.default_rng(seed)
    inside = [names[number] for number in random.permutation(len(names))[:known]]
    labelled: list[Item] = []
    for place, name in enumerate(inside):
        own = [item for item in train if item.label == name]
        wanted = _shots(place, known, shots)
        if len(own) <= wanted:
            raise DataError(
                f"class {name!r} has {len(own)} training images, {wanted} were to keep their label"
                " and at least one not"
            )
        labelled += [own[row] for row in np.sort(random.permutation(len(own))[:wanted])]
    kept = {item.id for item in labelled}
    rest = [item for item in train if item.id not in kept]
    validation = [item for item in items if item.split == "query" and item.label in set(inside)]
    if not rest or not validation:
        raise DataError(
            "a data set needs training images, and query images of the known classes to validate"
            " with"
        )
    return Hidden(
        tuple(_group_rows(item, folder) for item in labelled),
        tuple(dataclasses.replace(_group_rows(item, folder), label="") for item in rest),
        tuple(_group_rows(item, folder) for item in validation),
        {item.id: item.label for item in rest},
    )


def _shots(place: int, classes: int, shots: tuple[int, int]) -> int:
    part = place / max(classes - 1, 1)
    return round(shots[1] * (shots[0] / shots[1]) ** part)


def _group_rows(item: Item, folder: int | None) -> Item:
    if folder is None:
        return item
    parts = pathlib.PurePosixPath(item.id).parts[:-1]
    if folder >= len(parts):
        raise UsageError(
            f"the id {item.id!r} has {len(parts)} folders, so there is no folder {folder} to"
            " group by"
        )
    return dataclasses.replace(item, group=parts[folder])
