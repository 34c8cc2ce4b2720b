"""Which images are one: an id belongs to the folder or file it was read from, its root.

Two folders may both hold IMG_0001.jpg, and two files of bare vectors both have a row 0. So what
tells whether a query stands in the gallery is the root and the id together.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .archive import Provenance
from .arrays import StringArray
from .item import Item
from .item_columns import find_first
from .item_table import ItemTable

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
    of /a. A side merged of several roots does not tell which id is of which, so an id is put below
    the one that makes it an image of the other side. Where a root is not known, as in older files,
    an id alone is the name.

    Args:
        query_ids, gallery_ids: [Q], [G] strings.
        provenance: of the ranking.
    """
    if not roots_differ(provenance):
        return Names(query_ids, gallery_ids)
    queries, gallery = (_roots_of(provenance.get(side)) for side in ("queries", "gallery"))
    inside = _find_folders(queries, gallery)
    if inside:
        return Names(_put_below(inside, query_ids, gallery_ids), gallery_ids)
    inside = _find_folders(gallery, queries)
    if inside:
        return Names(query_ids, _put_below(inside, gallery_ids, query_ids))
    return None


def share_root(provenances: Sequence[Provenance]) -> dict[str, str]:
    """{"root": …} where all provenances tell the same one, {} otherwise."""
    roots = {one.get("root") for one in provenances}
    root = roots.pop() if len(roots) == 1 else None
    return {"root": root} if isinstance(root, str) and root else {}


def unique_items(items: Sequence[Item], source: str) -> Sequence[Item]:
    """Every image once: of items with one id and one file the last counts.

    Args:
        items: some may stand there in several splits.
        source: what an error calls the list.

    Raises:
        DataError: one id names two files; names both.
    """
    if isinstance(items, ItemTable):
        return _unique_rows(items, source)
    known: dict[str, Item] = {}
    for item in items:
        before = known.get(item.id)
        if before is not None:
            _refuse_two_files(before, item, source)
        known[item.id] = item
    return list(known.values())


def _unique_rows(items: ItemTable, source: str) -> ItemTable:
    """`unique_items` of a table: only rows whose id stands twice are made into items."""
    first, rows = find_first(items.ids), np.arange(len(items))
    last = rows.copy()
    for row in np.flatnonzero(first != rows).tolist():
        before = last[first[row]]
        if items.path(before) != items.path(row):
            _refuse_two_files(items[before], items[row], source)
        last[first[row]] = row
    alone = first == rows
    return items if alone.all() else items[last[alone]]


def _refuse_two_files(one: Item, other: Item, source: str) -> None:
    if not is_same_file(one, other):
        raise DataError(
            f"{source}: the id {other.id!r} names two images, {one.path} ({one.split}) and"
            f" {other.path} ({other.split}): give every image an id of its own"
        )


def is_same_file(one: Item, other: Item) -> bool:
    """Whether two items are of one file, by whatever path or link."""
    return one.path == other.path or file_name(one) == file_name(other)


def file_name(item: Item) -> str:
    """The file of an item, the same for every way to write its path and for every link to it.

    A file that is not there is known by its path. Files with several hard links are known by a
    number of this machine, so the name is for comparing and not for keeping.
    """
    folder, name = os.path.split(item.path)
    path = os.path.join(_resolve_folder(os.path.abspath(folder)), name)
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            path = os.path.realpath(path)
            status = os.stat(path)
    except (OSError, ValueError):
        return os.path.normpath(path)
    return f"{status.st_dev}:{status.st_ino}" if status.st_nlink > 1 else os.path.normpath(path)


@functools.lru_cache(maxsize=1 << 16)
def _resolve_folder(folder: str) -> str:
    """The folder a path leads to: kept, since a data set has many images in few folders."""
    return os.path.realpath(folder)


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


def _find_folders(inner: set[str], outer: set[str]) -> list[str]:
    """Where roots of one side lie below roots of the other, relative to these: ["query"]."""
    pairs = [(one, other) for one in inner for other in outer if _is_below(one, other)]
    return sorted({os.path.relpath(one, other).replace(os.sep, "/") for one, other in pairs})


def _is_below(inner: str, outer: str) -> bool:
    return bool(inner and outer) and inner.startswith(outer.rstrip(os.sep) + os.sep)


def _put_below(folders: Sequence[str], ids: StringArray, others: StringArray) -> StringArray:
    """The ids below the folder that makes each one of `others`, below the first where none does."""
    names = np.char.add(f"{folders[0]}/", ids)
    for folder in folders[1:]:
        other = np.char.add(f"{folder}/", ids)
        names = np.where(np.isin(other, others), other, names)
    return names


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
