"""A labelled set with more images of its classes from elsewhere."""

from __future__ import annotations

import collections
import logging
from collections.abc import Sequence

import numpy as np

from ...errors import DataError, refuse_exhausted
from ...io.location_states import measure
from ...io.locations import is_file, read_bytes, sha256_of
from ...registry import DATASETS, build
from ...structures import ItemTable
from ...structures.item_table import join_tables
from ...structures.item_table_builder import as_table
from ..images import MOST_BYTES

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
        first = as_table(build(calls[0], DATASETS).items).with_meta("source", calls[0])
        known = first.with_split("train")
        classes = {known.labels[code] for code in np.unique(known.codes).tolist() if code >= 0}
        more = [
            _pick(as_table(build(call, DATASETS).items), classes if known_only else None)
            .with_prefix(f"{number}/")
            .with_meta("source", call)
            for number, call in enumerate(calls[1:], 1)
        ]
        found = join_tables(more)
        rows = _find_new(known.paths, found.paths)
        if not len(rows):
            raise DataError(
                f"{', '.join(calls[1:])}: none of {len(found)} images is new to {calls[0]}"
            )
        # Classes of several sets stand in the order of the alphabet.
        self.items = join_tables([first, found[rows]]).with_labels_sorted()
        logger.info(
            "%s: %d images added to %d, %d copies left out",
            ", ".join(calls[1:]),
            len(rows),
            len(known),
            len(found) - len(rows),
        )


def _pick(items: ItemTable, classes: set[str] | None) -> ItemTable:
    """The training images that have a label, one of `classes` where these are told."""
    trained = items.with_split("train")
    wanted = [classes is None or label in classes for label in trained.labels]
    # The last one stands for -1, an image without a label.
    return trained[np.flatnonzero(np.array([*wanted, False])[trained.codes])]


def _find_new(known: Sequence[str], more: Sequence[str]) -> np.ndarray:
    """The rows of `more` whose bytes no image before them has.

    Every file is read once at most, and only where another one has its length.
    """
    lengths = np.fromiter(map(_length, more), np.int64, len(more))
    doubled = _doubled(lengths)
    seen: dict[int, set[bytes]] = collections.defaultdict(set)
    wanted = set(np.unique(lengths).tolist())
    for path in known:
        length = _length(path)
        if length in wanted:
            seen[length].add(_digest(path))
    rows = []
    for row, (path, length) in enumerate(zip(more, lengths.tolist(), strict=True)):
        if length in seen or length in doubled:
            mine = _digest(path)
            if mine in seen[length]:
                continue
            seen[length].add(mine)
        rows.append(row)
    return np.array(rows, np.int64)


def _doubled(lengths: np.ndarray) -> set[int]:
    values, counts = np.unique(lengths, return_counts=True)
    return set(values[counts > 1].tolist())


def _length(path: str) -> int:
    """Bytes of an image; -1 where it is not there. A cell of a Parquet file is read to know."""
    size = measure(path)[0]
    if size >= 0 or is_file(path):
        return size
    try:
        return len(read_bytes(path, MOST_BYTES))
    except OSError as error:
        refuse_exhausted(error, path)
        return -1


def _digest(path: str) -> bytes:
    """Of an image's bytes; one that cannot be read is like no other, the loader tells of it."""
    try:
        return bytes.fromhex(sha256_of(path, MOST_BYTES))
    except OSError as error:
        refuse_exhausted(error, path)
        return path.encode("utf-8", "surrogateescape")
