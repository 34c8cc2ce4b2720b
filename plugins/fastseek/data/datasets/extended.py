"""A labelled set with more images of its classes from elsewhere."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence

from ...errors import DataError
from ...registry import DATASETS, build
from ...structures import Item, with_split

logger = logging.getLogger(__name__)


@DATASETS.register()
class Extended:
    """The images of a data set, and further training images of the classes it has: a larger
    reference to vote with.

    The winners of 2021 extended the recognition reference with all of GLDv2 and with images of
    Wikipedia (WIT), both cut down to the landmarks of the training set (arXiv 2110.03786). Labels
    must be of one label space already: index labels of GLDv2 are joined by category, never by
    number. An image whose file has the same bytes as one before it is left out; where an image comes
    from stands in `meta["source"]`, the call string of its data set, and its id begins with that
    set's number ("1/…"), so that ids of two sets cannot meet. The first set keeps its own ids.

    Args:
        calls: call strings of DATASETS, the set to be extended first.
        known_only: leave out images of classes that the first set's training split does not have.

    Raises:
        ValueError: less than two call strings. UsageError, DataError: as of the data sets
            themselves.
        DataError: nothing was added.
    """

    def __init__(self, *calls: str, known_only: bool = True) -> None:
        if len(calls) < 2:
            raise ValueError(
                f"extended needs a data set and one that extends it, got {len(calls)} call strings"
            )
        first = [_describe(item, calls[0]) for item in build(calls[0], DATASETS).items]
        known = with_split(first, "train")
        classes = {item.label for item in known}
        more = [
            dataclasses.replace(_describe(item, call), id=f"{number}/{item.id}")
            for number, call in enumerate(calls[1:], 1)
            for item in build(call, DATASETS).items
            if item.split == "train" and item.label and (item.label in classes or not known_only)
        ]
        self.items = first + list(_new(known, more))
        added = len(self.items) - len(first)
        if not added:
            raise DataError(
                f"{', '.join(calls[1:])}: none of {len(more)} images is new to {calls[0]}"
            )
        logger.info(
            "%s: %d images added to %d, %d copies left out",
            ", ".join(calls[1:]),
            added,
            len(known),
            len(more) - added,
        )


def _describe(item: Item, call: str) -> Item:
    return dataclasses.replace(item, meta={**item.meta, "source": call})


def _new(known: Sequence[Item], more: Sequence[Item]) -> Iterator[Item]:
    """Those of `more` whose bytes no image before them has; only files of one length are read."""
    lengths: dict[int, list[Item]] = {}
    for item in known:
        lengths.setdefault(_length(item), []).append(item)
    digests: dict[int, set[bytes]] = {}
    for item in more:
        length = _length(item)
        alike = lengths.setdefault(length, [])
        if alike:
            seen = digests.setdefault(length, {_digest(one) for one in alike})
            mine = _digest(item)
            if mine in seen:
                continue
            seen.add(mine)
        alike.append(item)
        yield item


def _length(item: Item) -> int:
    """Bytes of an image's file; one that is not there has a length of its own."""
    try:
        return os.stat(item.path).st_size
    except OSError:
        return -1


def _digest(item: Item) -> bytes:
    """Of a file's bytes; an image that cannot be read is like no other, the loader tells of it."""
    try:
        with open(item.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return item.path.encode("utf-8", "surrogateescape")
