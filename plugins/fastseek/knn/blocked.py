"""Blocks of a gallery coded for a scan, and the loop over them on as many threads as there are."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ..progress import progress
from ..structures import Embeddings
from ..structures.arrays import FloatArray, VectorArray
from .scan.codes import Codes, Scan
from .sort_keys import KeyArray, sort_keys
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
    vectors: VectorArray


def iterate_blocks(
    gallery: Embeddings, metric: str, scan: Scan, rows: int, mapped: Mapped = map
) -> Iterator[Block]:
    """Yield the gallery in blocks of at most `rows` rows; the memory of one is used again for the
    next.

    Raises:
        DataError: a vector cannot be scored; names its id.
    """
    memory = scan.empty(min(rows, len(gallery)), gallery.dim)
    for start in range(0, len(gallery), rows):
        here = slice(start, min(start + rows, len(gallery)))
        codes = encode(gallery, here, metric, scan, mapped, memory)
        given = codes.held if scan.name == "float32" else gallery.vectors[here]
        yield Block(start, codes, given)


def encode(
    embeddings: Embeddings,
    rows: slice,
    metric: str,
    scan: Scan,
    mapped: Mapped = map,
    memory: Codes | None = None,
) -> Codes:
    """The codes of some rows, in `memory` if it is given."""
    count = rows.stop - rows.start
    codes = scan.empty(count, embeddings.dim) if memory is None else memory.part(slice(0, count))

    def encode_chunk(start: int) -> None:
        here = slice(start, min(start + CHUNK_ROWS, len(codes)))
        part = codes.part(here)
        # Codes that are numpy's are the vectors themselves: they are normalized where they go.
        out = part.held if isinstance(part.held, np.ndarray) else None
        given = slice(rows.start + here.start, rows.start + here.stop)
        block = check_vectors(embeddings, given, metric, out)
        scan.encode(np.ascontiguousarray(block), part, metric == "cosine")

    for _ in mapped(encode_chunk, range(0, len(codes), CHUNK_ROWS)):
        pass
    return codes


class _OfThread(threading.local):
    """What every thread has of its own."""

    cells = 0
    workspace: Workspace | None = None


class BlockedSearch:
    """The best gallery images of every query, block by block.

    Args:
        queries: of which a block at a time is in memory.
        place: [G] uint32 place of every gallery row in the order of the ids.
        metric, scan: how pairs are compared.
        keys: [Q, depth] uint64, filled as blocks are looked through.
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
        self._thread = _OfThread()

    def run(
        self, blocks: Iterable[Block], total: int, mapped: Mapped, rows: int, told: bool = True
    ) -> None:
        """Look through all blocks, `rows` queries at a time.

        Args:
            blocks: of the gallery.
            total: how many there are, for the progress.
            mapped: a `map`, perhaps on several threads.
            rows: queries at a time.
            told: whether the progress is told.
        """
        starts = range(0, len(self.queries), rows)
        jobs = (
            done
            for block in blocks
            for done in mapped(functools.partial(self._search, block, rows), starts)
        )
        for _ in progress(jobs, "search", total * len(starts)) if told else jobs:
            pass

    def _search(self, block: Block, rows: int, start: int) -> None:
        mine = slice(start, min(start + rows, len(self.queries)))
        codes = encode(self.queries, mine, self.metric, self.scan)
        # The codes of this scan are the checked vectors already.
        coded = self.scan.name == "float32"
        q = codes.held if coded else check_vectors(self.queries, mine, self.metric)

        def exact(rows: np.ndarray, cols: np.ndarray) -> KeyArray:
            return sort_keys(self._scores(q, block, rows, cols), self.place[block.first + cols])

        best = TopK(self.scan, codes, self.keys[mine], exact)
        lowest = Lowest(best, self.lowest[mine]) if self.lowest is not None else None
        step = self.scan.tile[1]
        workspace = self._workspace(len(codes) * min(step, len(block.codes)))
        for first in range(0, len(block.codes), step):
            part = block.codes.part(slice(first, first + step))
            tile = best.propose(part, first, workspace)
            if lowest is not None:
                lowest.update(tile, part, first)
        self.keys[mine] = best.settle()

    def _workspace(self, cells: int) -> Workspace:
        """Memory of this thread's own, used again: fresh memory is slow."""
        mine = self._thread
        if mine.workspace is None or mine.cells < cells:
            mine.cells = cells
            mine.workspace = Workspace(self.scan.workspace(cells), self.scan.mask(cells))
        return mine.workspace

    def _scores(
        self, q: np.ndarray, block: Block, rows: np.ndarray, cols: np.ndarray
    ) -> FloatArray:
        """Exact scores of pairs whose rows rise, a few at a time so that they stay in the cache."""
        out = np.empty(len(rows), np.float32)
        step = max(1, PAIR_CELLS // max(1, q.shape[1]))
        starts = np.flatnonzero(np.diff(rows, prepend=-1)).tolist()
        # Many pairs of one query are scored against that one vector; few of many queries pair by
        # pair.
        alone = 0 < len(starts) * MANY <= len(rows)
        stops = [*starts[1:], len(rows)] if alone else [len(rows)]
        for first, last in zip(starts if alone else [0], stops, strict=True):
            for start in range(first, last, step):
                here = slice(start, min(start + step, last))
                theirs = np.asarray(block.vectors[cols[here]], np.float32)
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
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        count = 1
    if count < 2:
        yield map
        return
    torch: Any = sys.modules.get("torch")  # where it is not loaded, it has no threads either
    if torch is None:
        with threadpool_limits(1), ThreadPoolExecutor(count) as pool:
            yield pool.map
        return
    before = torch.get_num_threads()
    try:
        # torch counts threads for every thread that calls it
        alone = functools.partial(torch.set_num_threads, 1)
        with threadpool_limits(1), ThreadPoolExecutor(count, initializer=alone) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)
