"""The switch "test data may be used": allowed in Sorghum-100, forbidden in DIGIX 2020."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ..errors import UsageError
from ..structures import Item

HELD_BACK = ("query", "gallery")


def check_allowed(unlabelled: Sequence[Item], test: Iterable[Item], allowed: bool) -> None:
    """Refuse to learn from photos that are there to be tested with.

    A photo counts as one when its split is "query" or "gallery", or when it is the file of a test
    photo under whatever name or link.

    Args:
        unlabelled: photos a model shall learn from.
        test: all photos it is or will be tested with.
        allowed: the task allows it.

    Raises:
        UsageError: not allowed, and there is such a photo; names the first.
    """
    if allowed:
        return
    files = {os.path.realpath(item.path) for item in test}
    found = [
        item
        for item in unlabelled
        if item.split in HELD_BACK or os.path.realpath(item.path) in files
    ]
    if found:
        raise UsageError(
            f"{len(found)} of {len(unlabelled)} unlabelled photos are test photos, the first is "
            f"{found[0].id!r}: leave them out, or say TEST_DATA: true if the task allows it"
        )
