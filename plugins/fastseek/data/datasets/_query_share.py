"""Queries held out where nobody said which images ask."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ...structures import Item


def hold_out(items: Sequence[Item], share: float) -> tuple[list[Item], list[Item]]:
    """Every class's share of queries, spread evenly over its images in the order given, and the
    rest; a class keeps at least one image.

    Raises:
        ValueError: a share outside 0..1.
    """
    if not 0 < share < 1:
        raise ValueError(f"query={share}: a folder or a share between 0 and 1")
    classes: dict[str, list[Item]] = {}
    for item in items:
        classes.setdefault(item.label, []).append(item)
    held: set[str] = set()
    for members in classes.values():
        count = min(len(members) - 1, max(1, round(share * len(members))))
        rows = np.linspace(0, len(members) - 1, count + 2).astype(int)[1:-1]
        held.update(members[row].id for row in rows)
    queries = [dataclasses.replace(item, split="query") for item in items if item.id in held]
    return queries, [item for item in items if item.id not in held]
