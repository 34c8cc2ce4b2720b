"""A labelled set with more images of its classes from elsewhere."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from ...errors import DataError, refuse_exhausted
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

    Source: Henkel, Efficient Large-Scale Image Retrieval with Deep Feature Orthogonality and
        Hybrid-Swin-Transformers, 2021 (arXiv 2110.03786)
    Example: extended("gldv2()", "manifest('more.csv')")
    """

    def __init__(self, *calls: str, known_only: bool = True) -> None:
        if len(calls) < 2:
            raise ValueError(
                f"extended needs a data set and one that extends it, got {len(calls)} call strings"
            )
        first = _describe(build(calls[0], DATASETS).items, calls[0])
        known = with_split(first, "train")
        classes = {item.label for item in known}
        more = [
            dataclasses.replace(item, id=f"{number}/{item.id}")
            for number, call in enumerate(calls[1:], 1)
            for item in _describe(build(call, DATASETS).items, call)
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


def _describe(items: Iterable[Item], call: str) -> list[Item]:
    """The items with the call string of their data set."""
    source = {"source": call}  # one for all that have no meta of their own: there may be millions
    return [
        dataclasses.replace(item, meta={**item.meta, **source} if item.meta else source)
        for item in items
    ]


def _new(known: Sequence[Item], more: Sequence[Item]) -> Iterator[Item]:
    """Those of `more` whose bytes no image before them has.

    Every file is read once at most, and only where another one has its length.
    """
    lengths = list(map(_length, more))
    counts = collections.Counter(lengths)
    seen: dict[int, set[bytes]] = collections.defaultdict(set)
    for item in known:
        length = _length(item)
        if length in counts:
            seen[length].add(_digest(item))
    for item, length in zip(more, lengths, strict=True):
        if length in seen or counts[length] > 1:
            mine = _digest(item)
            if mine in seen[length]:
                continue
            seen[length].add(mine)
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
    except OSError as error:
        refuse_exhausted(error, item.path)
        return item.path.encode("utf-8", "surrogateescape")
