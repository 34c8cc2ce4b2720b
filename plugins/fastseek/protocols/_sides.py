"""The sides of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DataError
from ..structures import Item, ItemTable, with_split
from ..structures.item_table import join_items


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


def is_junk(item: Item) -> bool:
    """Whether its meta says so; tables of text say "1" or "true"."""
    return str(item.meta.get("junk", "")).lower() in ("1", "true")


def _tells_junk(items: Sequence[Item]) -> bool:
    if isinstance(items, ItemTable):
        return "junk" in items.details.meta
    return any("junk" in item.meta for item in items)
