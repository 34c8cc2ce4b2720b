"""Rows found by their ids: how two tables of the same images are brought into one order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..structures.arrays import IntArray
from ..structures.id_column import IdColumn
from ..structures.listed_ids import Ids


def rows_of(ids: Sequence[str] | Ids, known: Sequence[str] | Ids) -> IntArray:
    """The row [N] int64 of every id among the known ones, -1 where it is not known.

    Args:
        ids: [N], in any order, any number of times.
        known: [M]; of an id that stands there twice the first row counts.
    """
    if isinstance(known, IdColumn):
        return known.find(ids if isinstance(ids, IdColumn) else np.asarray(ids, str))
    wanted, there = np.asarray(ids, str), np.asarray(known, str)
    if not len(there):
        return np.full(len(wanted), -1, np.int64)
    # Stable, so that of an id that stands there twice the first row is found.
    order = np.argsort(there, kind="stable")
    place = np.searchsorted(there, wanted, sorter=order)
    rows = order[np.minimum(place, len(there) - 1)]
    return np.where(there[rows] == wanted, rows, -1)
