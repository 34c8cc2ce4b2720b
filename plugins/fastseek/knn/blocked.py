"""Runs of a gallery made ready for a scan, and the loop over them, on as many threads as the
machine lends.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ..progress import progress
from ..structures import Embeddings
from .scan.codes import Codes, Scan
from .sort_keys import sort_keys
from .topk import Lowest, TopK, Workspace
from .vectors import PAIR_CELLS, check_vectors, matched_scores, unit_vectors

BLOCK_ROWS = 65536
CHUNK_ROWS = 512  # vectors coded at once: they stay in the cache
MANY = 32  # pairs of one query that are worth a call of their own
Mapped = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Block(NamedTuple):
    """A run of gallery rows: the first one's number, their codes, and the vectors as they were
    given.
    """

    first: int
    codes: Codes
    vectors: Any


def iterate_blocks(
    gallery: Embeddings, metric: str, scan: Scan, rows: int, mapped: Mapped = map
) -> Iterator[Block]:
    """Yield the gallery in runs of at most `rows` rows; the memory of one is used again for the
    next.

    Raises:
        DataError: a vector cannot be scored; names its id.
    """
    room = scan.empty(min(rows, len(gallery)), gallery.dim)
    for start in range(0, len(gallery), rows):
        here = slice(start, min(start + rows, len(gallery)))
        codes = encode_blocks(gallery, here, metric, scan, mapped, room)
        given = codes.held if scan.name == "float32" else gallery.vectors[here]
        yield Block(start, codes, given)


def encode_blocks(
    embeddings: Embeddings,
    rows: slice,
    metric: str,
    scan: Scan,
    mapped: Mapped = map,
    room: Codes | None = None,
) -> Codes:
    """The codes of some rows, in `room` if there is one."""
    count = rows.stop - rows.start
    codes = scan.empty(count, embeddings.dim) if room is None else room.part(slice(0, count))

    def chunk(start: int) -> None:
        here = slice(start, min(start + CHUNK_ROWS, len(codes)))
        part = codes.part(here)
        room = part.held if isinstance(part.held, np.ndarray) else None
        block = check_vectors(
            embeddings, slice(rows.start + here.start, rows.start + here.stop), metric, room
        )
        scan.encode(np.ascontiguousarray(block), part, metric == "cosine")

    for _ in mapped(chunk, range(0, len(codes), CHUNK_ROWS)):
        pass
    return codes


class BlockedSearch:
    """The best gallery images of every query, span by span.

    Args:
        queries: of which a block at a time is in memory.
        place: [G] uint32 place of every gallery row in the order of the ids.
        depth: how many a query gets.
        metric, scan: how pairs are compared.
        keys: [Q, depth] uint64, filled as spans are seen.
        lowest: [Q] float32 that is brought down to the lowest score, or None.
    """

    def __init__(
        self,
        queries: Embeddings,
        place: np.ndarray,
        metric: str,
        scan: Scan,
        keys: np.ndarray,
        lowest: np.ndarray | None = None,
    ) -> None:
        self.queries, self.place, self.metric, self.scan = queries, place, metric, scan
        self.keys, self.lowest = keys, lowest
        self._mine = threading.local()

    def over(self, found: Iterable[Block], total: int, mapped: Mapped, rows: int) -> None:
        """Look through the spans, blocks of `rows` queries at a time."""
        starts = range(0, len(self.queries), rows)
        jobs = (
            done
            for span in found
            for done in mapped(lambda start, span=span: self._block(span, start, rows), starts)
        )
        for _ in progress(jobs, "search", total * len(starts)):
            pass

    def _block(self, span: Block, start: int, rows: int) -> None:
        mine = slice(start, min(start + rows, len(self.queries)))
        codes = encode_blocks(self.queries, mine, self.metric, self.scan)
        q = (
            codes.held
            if self.scan.name == "float32"
            else check_vectors(self.queries, mine, self.metric)
        )

        def exact(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
            return sort_keys(self._scores(q, span, rows, cols), self.place[span.first + cols])

        sweep = TopK(self.scan, codes, self.keys[mine], exact)
        far = Lowest(sweep, self.lowest[mine]) if self.lowest is not None else None
        step = self.scan.tile[1]
        room = self._room(len(codes) * min(step, len(span.codes)))
        for first in range(0, len(span.codes), step):
            part = span.codes.part(slice(first, first + step))
            tile = sweep.see(part, first, room)
            if far is not None:
                far.see(tile, part, first)
        self.keys[mine] = sweep.settle()

    def _room(self, cells: int) -> Workspace:
        """Memory of this thread's own, used again: fresh memory is slow."""
        if getattr(self._mine, "cells", 0) < cells:
            self._mine.cells = cells
            self._mine.room = Workspace(self.scan.workspace(cells), self.scan.mask(cells))
        return self._mine.room

    def _scores(self, q: np.ndarray, span: Block, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Exact scores of pairs whose rows rise, a few at a time so that they stay in the cache."""
        out = np.empty(len(rows), np.float32)
        step = max(1, PAIR_CELLS // max(1, q.shape[1]))
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        # Many pairs of one query are scored against that one vector; few of many queries pair by
        # pair.
        alone = 0 < len(starts) * MANY <= len(rows)
        stops = [*starts[1:], len(rows)] if alone else [len(rows)]
        for first, last in zip(starts if alone else [0], stops, strict=True):
            for start in range(first, last, step):
                here = slice(start, min(start + step, last))
                theirs = np.asarray(span.vectors[cols[here]], np.float32)
                if self.metric == "cosine" and self.scan.name != "float32":
                    theirs = unit_vectors(theirs)[0]
                mine = q[rows[first]][None] if alone else q[rows[here]]
                out[here] = matched_scores(mine, theirs, self.metric)
        return out


@contextlib.contextmanager
def threads(count: int) -> Iterator[Mapped]:
    """Lend a `map` that works on `count` threads; meanwhile a matrix product takes one thread, not
    all of them.

    Without threadpoolctl, or with one thread, it is the ordinary `map`.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        count = 1
    if count < 2:
        yield map
        return
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    alone = (lambda: torch.set_num_threads(1)) if torch else None
    try:
        with threadpool_limits(1), ThreadPoolExecutor(count, initializer=alone) as pool:
            yield pool.map
    finally:
        if torch:
            torch.set_num_threads(before)
