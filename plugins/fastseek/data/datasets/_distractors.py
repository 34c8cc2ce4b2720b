"""Images of a gallery that answer no query: a folder, or tar files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from ...io.paths import locate
from ...structures import Item, ItemTable
from ...structures.item_columns import text_at
from ...structures.item_table import join_tables
from ...structures.item_table_builder import as_table
from .folder import list_images
from .webdataset import list_tars, names_tars

SPLIT = "distractor"


def with_distractors(items: Sequence[Item], where: str) -> ItemTable:
    """Images, and those of `where` as distractors; none where it is "".

    Raises:
        DataError: nothing is there.
    """
    table = as_table(items)
    return join_tables([table, read_distractors(where)]) if where else table


def searched(items: ItemTable) -> ItemTable:
    """The gallery with its distractors."""
    return join_tables([items.with_split("gallery"), items.with_split(SPLIT)])


def read_distractors(where: str, keep: Callable[[str], bool] | None = None) -> ItemTable:
    """The images of a folder and below, or of tar files, without labels.

    Args:
        where: a folder, a .tar file, a folder of these, or a pattern of these.
        keep: tells by an id whether the image is taken; all are when not given.

    Raises:
        DataError: nothing is there.
    """
    found = _read(where)
    if keep is not None:
        chosen = [keep(text_at(found.ids, row)) for row in range(len(found))]
        found = found[np.flatnonzero(np.array(chosen, bool))]
    bare = np.full(len(found), -1, np.int32)
    of = [kind._replace(split=SPLIT) for kind in found.of]
    return ItemTable(found.ids, bare, found.kinds, (), of, found.details)


def _read(where: str) -> ItemTable:
    if names_tars(where) and not os.path.isdir(where):
        return list_tars(where)[0]
    folder = str(locate(where, "the distractors"))
    if any(names_tars(name) for name in os.listdir(folder)):
        return list_tars(os.path.join(folder, "*.tar"))[0]
    return list_images(folder)
