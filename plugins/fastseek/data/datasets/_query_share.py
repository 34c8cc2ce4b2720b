"""Queries held out where nobody said which images ask."""

from __future__ import annotations

import numpy as np

from ...structures import ItemTable
from ...structures.item_table import join_tables


def hold_out(codes: np.ndarray, share: float) -> np.ndarray:
    """Which images ask, [N]: every class's share, spread evenly over its images in the order given;
    a class keeps at least one image.

    Args:
        codes: [N] whole numbers, the class of every image.
        share: above 0 and below 1.

    Raises:
        ValueError: a share outside 0..1.
    """
    if not 0 < share < 1:
        raise ValueError(f"query={share}: a folder or a share between 0 and 1")
    held = np.zeros(len(codes), bool)
    order = np.argsort(codes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        count = min(len(rows) - 1, max(1, round(share * len(rows))))
        held[rows[np.linspace(0, len(rows) - 1, count + 2).astype(int)[1:-1]]] = True
    return held


def part_queries(items: ItemTable, share: float) -> ItemTable:
    """Images without `hold_out`'s queries to be trained on, these queries, and the former once more
    to be searched in.

    Raises:
        ValueError: a share outside 0..1.
    """
    held = hold_out(items.codes, share)
    rest = items[~held].in_split("train")
    return join_tables([rest, items[held].in_split("query"), rest.in_split("gallery")])
