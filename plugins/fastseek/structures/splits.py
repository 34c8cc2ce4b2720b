"""Query and gallery images of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from . import Item, ItemTable, with_split
from .item_table import join_items


def take_both_sides(items: Sequence[Item]) -> Sequence[Item]:
    """The same images, those of the split "test" as queries and in the gallery, where each is searched
    for by the others, and those of "distractor" in the gallery, where no label lets them answer.
    """
    known = _splits_of(items)
    parts = [with_split(items, split) for split in ("train", "query", "gallery") if split in known]
    if "test" in known:
        parts += [_in_split(with_split(items, "test"), side) for side in ("query", "gallery")]
    if "distractor" in known:
        parts.append(_in_split(_unlabeled(with_split(items, "distractor")), "gallery"))
    return join_items(parts) if known & {"test", "distractor"} else items


def _splits_of(items: Sequence[Item]) -> set[str]:
    if isinstance(items, ItemTable):
        return {items.of[kind].split for kind in np.unique(items.kinds).tolist()}
    return {item.split for item in items}


def _in_split(items: Sequence[Item], split: str) -> Sequence[Item]:
    if isinstance(items, ItemTable):
        return items.in_split(split)
    return [dataclasses.replace(item, split=split) for item in items]


def _unlabeled(items: Sequence[Item]) -> Sequence[Item]:
    if isinstance(items, ItemTable):
        bare = np.full(len(items), -1, np.int32)
        return ItemTable(items.ids, bare, items.kinds, (), items.of, items.details)
    return [dataclasses.replace(item, label="") for item in items]


def split_sides(items: Sequence[Item], name: str) -> tuple[Sequence[Item], Sequence[Item]]:
    """The query and gallery items.

    Raises:
        DataError: one of the two is empty.
    """
    return select_split(items, "query", name), select_split(items, "gallery", name)


def select_split(items: Sequence[Item], split: str, name: str) -> Sequence[Item]:
    """The items of one split.

    Raises:
        DataError: there is none.
    """
    found = with_split(items, split)
    if not len(found):
        raise DataError(
            f"{name} has no {split} images, so nothing can be evaluated: "
            'mark some, or train without evaluation (DATASETS.TESTS "()")'
        )
    return found


def refuse_missing_queries(
    queries: Sequence[Item],
    rows: np.ndarray,
    rejects: Sequence[dict[str, Any]] = (),
    unknown: str = "see the log",
) -> None:
    """A query without a vector would change what the mean is over, so it ends the evaluation, in
    every process.

    Args:
        queries: all of them; their item numbers are 0 … Q - 1.
        rows: the item numbers that have a vector.
        rejects: what is known of the others.
        unknown: said of one that is not among the rejects.

    Raises:
        DataError: names the first missing query, why, and how many more there are.
    """
    missing = np.setdiff1d(np.arange(len(queries)), rows)
    if len(missing):
        codes = {int(reject["row"]): reject["code"] for reject in rejects}
        why = codes.get(int(missing[0]), unknown)
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{queries[missing[0]].path}: query image cannot be read ({why}){more}: "
            "mend or remove them, scores over fewer queries mislead"
        )
