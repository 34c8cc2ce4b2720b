"""Which images are one: an id belongs to the folder or file it was read from, its root.

Two folders may both hold IMG_0001.jpg, and two files of bare vectors both have a row 0. So what
tells whether a query stands in the gallery is the root and the id together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .archive import Provenance
from .arrays import StringArray
from .item import Item

ONE_ROOT = "junk"  # what a truth's protocol says where a query can stand in the gallery
OTHER_ROOTS = "none: ids of other roots"
ROW_NUMBERS = "none: ids are row numbers"


class Names(NamedTuple):
    """Ids of two sides made comparable: equal names are one image, other names are two."""

    queries: StringArray
    gallery: StringArray


def root_of(provenance: Provenance, side: str) -> str:
    """The one root of a ranking's "queries" or "gallery", "" where it is not told or not one."""
    roots = _roots_of(provenance.get(side))
    return roots.pop() if len(roots) == 1 else ""


def roots_differ(provenance: Provenance) -> bool:
    """Whether queries and gallery of a ranking are known to come from different roots.

    A fused ranking whose members come from several machines asks each of them.
    """
    queries, gallery = (_roots_of(provenance.get(side)) for side in ("queries", "gallery"))
    if all(queries) and all(gallery) and queries and gallery:
        return not queries & gallery
    members = provenance.get("members")
    fused = members if isinstance(members, (list, tuple)) else []
    known = [one for one in fused if isinstance(one, Mapping)]
    return bool(known) and all(roots_differ(one) for one in known)


def compare_ids(
    query_ids: StringArray, gallery_ids: StringArray, provenance: Provenance
) -> Names | None:
    """Names of both sides by root and id; None when no image can stand on both.

    A root below the other one is told in the names: "IMG_1.jpg" of /a/query is "query/IMG_1.jpg"
    of /a. Where a root is not known, as in older files, an id alone is the name.

    Args:
        query_ids, gallery_ids: [Q], [G] strings.
        provenance: of the ranking.
    """
    if not roots_differ(provenance):
        return Names(query_ids, gallery_ids)
    queries, gallery = (root_of(provenance, side) for side in ("queries", "gallery"))
    if _is_below(queries, gallery):
        return Names(_prefix(query_ids, queries, gallery), gallery_ids)
    if _is_below(gallery, queries):
        return Names(query_ids, _prefix(gallery_ids, gallery, queries))
    return None


def share_root(provenances: Sequence[Provenance]) -> dict[str, str]:
    """{"root": …} where all provenances tell the same one, {} otherwise."""
    roots = {one.get("root") for one in provenances}
    root = roots.pop() if len(roots) == 1 else None
    return {"root": root} if isinstance(root, str) and root else {}


def unique_items(items: Sequence[Item], source: str) -> list[Item]:
    """Every image once: of items with one id and one file the last counts.

    Args:
        items: some may stand there in several splits.
        source: what an error calls the list.

    Raises:
        DataError: one id names two files; names both.
    """
    known: dict[str, Item] = {}
    for item in items:
        before = known.get(item.id)
        if before is not None and not is_same_file(before, item):
            raise DataError(
                f"{source}: the id {item.id!r} names two images, {before.path} ({before.split}) and"
                f" {item.path} ({item.split}): give every image an id of its own"
            )
        known[item.id] = item
    return list(known.values())


def is_same_file(one: Item, other: Item) -> bool:
    """Whether two items are of one file, as far as their paths tell."""
    return one.path == other.path or file_name(one) == file_name(other)


def file_name(item: Item) -> str:
    """The file of an item, the same for every way to write its path."""
    return os.path.normpath(item.path)


def _roots_of(told: Any) -> set[str]:
    """The roots that a side's provenance tells, "" among them where one is not known.

    Embeddings of several models have parents, a ranking merged from parts a list.
    """
    if _is_list(told):
        return set().union(*map(_roots_of, told))
    if not isinstance(told, Mapping):
        return {""}
    root = told.get("root")
    if isinstance(root, str) and root:
        # A linked folder holds the images of the folder it leads to; what a root without its
        # beginning leads to depends on the working folder.
        return {os.path.realpath(root) if os.path.isabs(root) else os.path.normpath(root)}
    parents = told.get("parents")
    return _roots_of(parents) if _is_list(parents) and parents else {""}


def _is_below(inner: str, outer: str) -> bool:
    return bool(inner and outer) and inner.startswith(outer.rstrip(os.sep) + os.sep)


def _prefix(ids: StringArray, inner: str, outer: str) -> StringArray:
    below = os.path.relpath(inner, outer).replace(os.sep, "/")
    return np.char.add(f"{below}/", ids)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
