"""Query and gallery images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from . import Item, with_split


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
