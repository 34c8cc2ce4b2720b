"""The sides of a benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..errors import DataError
from ..registry import unparse
from ..structures import GroundTruth, Item, ItemTable, with_split
from ..structures.ground_truth import LabeledSide
from ..structures.item_table import join_items
from ..structures.task import with_protocol

DISTRACTOR = "distractor"


def splits_of(items: Sequence[Item]) -> set[str]:
    """The splits that items are of."""
    if isinstance(items, ItemTable):
        return {kind.split for kind in items.of if len(items.with_split(kind.split))}
    return {item.split for item in items}


def select(items: Sequence[Item], *splits: str) -> Sequence[Item]:
    """The items of the splits, split by split; those that are junk for every query are left out,
    which changes no figure, as junk takes no place.

    Raises:
        DataError: there is none.
    """
    parts = [with_split(items, split) for split in splits]
    found = join_items([part for part in parts if len(part)])
    if _tells_junk(found):
        found = [item for item in found if not is_junk(item)]
    if not len(found):
        raise DataError(
            f"no image is of the split {' or '.join(map(repr, splits))}; there are"
            f" {', '.join(sorted(splits_of(items))) or 'none'}"
        )
    return found


def two_sides(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """The queries, and the gallery with its distractors.

    Raises:
        DataError: one of the two is empty.
    """
    return select(items, "query"), select(items, "gallery", DISTRACTOR)


def truth_by_label(
    queries: Sequence[Item],
    gallery: Sequence[Item],
    told: tuple[str, str, str],
    groups: bool = False,
) -> GroundTruth:
    """Right is the same label; junk the query itself, and with `groups` the same label in the same
    group. A distractor answers nothing, whatever its label.

    Args:
        queries, gallery: one list on both sides, or two.
        told: the protocol, its definition, and the name of the task.
        groups: whether groups count.
    """
    if queries is gallery:  # then ids tell what the files would
        side = LabeledSide([item.id for item in queries], [item.label for item in queries])
        return with_protocol(GroundTruth.from_sides(side, side), *told)
    sides = [_labeled(side) for side in (queries, gallery)]
    if not groups:
        sides = [dataclasses.replace(side, groups=None) for side in sides]
    return with_protocol(GroundTruth.from_sides(sides[0], sides[1]), *told)


def _labeled(items: Sequence[Item]) -> LabeledSide:
    labels = ["" if item.split == DISTRACTOR else item.label for item in items]
    return dataclasses.replace(LabeledSide.from_items(items), labels=labels)


def by_label(items: Sequence[Item]) -> dict[str, list[int]]:
    """The rows of every label, labels and rows in an order that does not depend on that of the
    items; images without a label are left out.
    """
    found: dict[str, list[int]] = {}
    ids = [item.id for item in items]
    for row in sorted(range(len(ids)), key=ids.__getitem__):
        label = items[row].label
        if label:
            found.setdefault(label, []).append(row)
    return dict(sorted(found.items()))


def figures(metric: str, ks: Sequence[int]) -> str:
    """The call string of a metric at several depths."""
    return unparse(metric, ks, {})


def is_junk(item: Item) -> bool:
    """Whether its meta says so; tables of text say "1" or "true"."""
    return str(item.meta.get("junk", "")).lower() in ("1", "true")


def _tells_junk(items: Sequence[Item]) -> bool:
    if isinstance(items, ItemTable):
        return "junk" in items.details.meta
    return any("junk" in item.meta for item in items)
