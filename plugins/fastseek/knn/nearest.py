"""Exact nearest neighbors in bounded memory: what search, re-ranking and query expansion stand on.

A scan compares all pairs in a cheap precision and proposes every pair that its error could put
among the best k; each of those is then scored in float64. So scores depend on their two vectors
alone, not on the precision of the scan, on block size, order of rows or BLAS; equal vectors get
equal scores, and ties can be settled by id.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..io.processors import count_processors
from ..structures import Embeddings
from ..structures.arrays import FloatArray, IntArray
from .blocked import BLOCK_ROWS, Block, BlockedSearch, Mapped, encode, iterate_blocks, threads
from .scan import Scan, choose
from .scan.codes import Codes
from .sort_keys import EMPTY, id_order, places_of, scores_of, sort_keys
from .topk import BoundViolated
from .vectors import METRICS, blocks, pair_scores, similarities

__all__ = [
    "CodedGallery",
    "EMPTY",
    "GALLERY_ROWS",
    "METRICS",
    "Neighbors",
    "blocks",
    "encode_gallery",
    "id_order",
    "nearest",
    "nearest_coded",
    "nearest_in_order",
    "pair_scores",
    "places_of",
    "scores_of",
    "similarities",
    "sort_keys",
]
GALLERY_ROWS = BLOCK_ROWS
FEW_ROWS = 64  # fewer queries than this a thread are left to one thread
logger = logging.getLogger("fastseek")


class Neighbors(NamedTuple):
    """The answer of `nearest`.

    `rows` [Q, K] int64 gallery rows, best first; `scores` [Q, K] float32, larger is better;
    `lowest` [Q] float32, the score of the farthest gallery row, inf where it was not wanted;
    `scan` the precision of the comparison.
    """

    rows: IntArray
    scores: FloatArray
    lowest: FloatArray
    scan: str


class CodedGallery(NamedTuple):
    """A whole gallery coded once, for many searches by one scan and metric.

    `block` all of its rows; `scan` and `metric` what it was coded for.
    """

    gallery: Embeddings
    block: Block
    scan: str
    metric: str


def encode_gallery(gallery: Embeddings, metric: str, scan: str) -> CodedGallery:
    """Code a gallery for `nearest_coded`; the arguments are those of `nearest`, `scan` by name."""
    codes = encode(gallery, slice(0, len(gallery)), metric, choose(scan, metric))
    return CodedGallery(gallery, Block(0, codes, gallery.vectors), scan, metric)


def nearest(
    queries: Embeddings,
    gallery: Embeddings,
    k: int,
    metric: str = "cosine",
    gallery_rows: int = GALLERY_ROWS,
    scan: str = "auto",
    lowest: bool = True,
) -> Neighbors:
    """Find the k best gallery rows of every query; equal scores stand in the order of their ids.

    Args:
        queries, gallery: of one dimension D; never loaded whole, never changed.
        k: how many; all of the gallery when it is smaller.
        metric: "cosine", "ip" (inner product) or "l2" (minus the squared Euclidean distance).
        gallery_rows: rows of the gallery held at once.
        scan: "float32", "bfloat16", "int8", "cuda", or "auto" for the fastest here. The answer is
            the same.
        lowest: whether the farthest row is wanted too.

    Raises:
        DataError: a vector is not finite, zero and so without a cosine, or too long to score; names
            its id.
        UsageError: the scan cannot be had here.
    """
    picked = choose(scan, metric, len(queries) * len(gallery) * queries.dim)
    wanted = _Wanted(gallery, min(k, len(gallery)), metric, lowest)

    def blocks_for(scan: Scan, mapped: Mapped) -> Iterator[Block]:
        return iterate_blocks(gallery, metric, scan, gallery_rows, mapped)

    total = -(-len(gallery) // gallery_rows)
    try:
        return _search(queries, wanted, picked, blocks_for, total)
    except BoundViolated as error:
        logger.warning("%s: searching again in float32", error)
        return _search(queries, wanted, choose("float32", metric), blocks_for, total)


def nearest_coded(
    queries: Embeddings, coded: CodedGallery, k: int, widen: int = 0, lowest: bool = False
) -> Neighbors:
    """What `nearest` finds, in a gallery that was coded before.

    Args:
        queries: of the gallery's dimension.
        coded: from `encode_gallery`.
        k, lowest: as for `nearest`.
        widen: 0 for an answer that is surely exact; else only the widen * k best by the scan are
            scored exactly.

    Raises:
        DataError: as for `nearest`.
    """
    gallery = coded.gallery
    scan = choose(coded.scan, coded.metric)
    scan.proven = not widen
    wanted = _Wanted(gallery, min(k * max(1, widen), len(gallery)), coded.metric, lowest)
    try:
        found = _search(queries, wanted, scan, lambda *_: [coded.block], 1)
    except BoundViolated as error:
        logger.warning("%s: searching again in float32", error)
        return nearest(queries, gallery, k, coded.metric, scan="float32", lowest=lowest)
    return found._replace(rows=found.rows[:, :k], scores=found.scores[:, :k])


def nearest_in_order(
    queries: Embeddings, gallery: Embeddings, k: int, metric: str, codes: Codes | None = None
) -> Neighbors:
    """What `nearest` finds, in a gallery whose rows stand in the order of their ids.

    The ids are read only where a vector is refused; they may be any array.

    Args:
        queries, gallery, k, metric: as for `nearest`.
        codes: of the whole gallery in float32, where they are at hand.

    Raises:
        DataError: as for `nearest`.
    """
    wanted = _Wanted(gallery, min(k, len(gallery)), metric, lowest=False, in_order=True, told=False)
    work = len(queries) * len(gallery) * queries.dim
    scan = choose("auto" if codes is None else "float32", metric, work)

    def blocks_for(scan: Scan, mapped: Mapped) -> Iterable[Block]:
        if codes is not None:
            given = codes.held if scan.name == "float32" else gallery.vectors
            return [Block(0, codes, given)]
        return iterate_blocks(gallery, metric, scan, BLOCK_ROWS, mapped)

    total = -(-len(gallery) // BLOCK_ROWS) if codes is None else 1
    try:
        return _search(queries, wanted, scan, blocks_for, total)
    except BoundViolated as error:
        logger.warning("%s: searching again in float32", error)
        return _search(queries, wanted, choose("float32", metric), blocks_for, total)


def encode_float32(gallery: Embeddings, metric: str) -> Codes:
    """The codes of a gallery for `nearest_in_order`: 4 bytes a number in memory."""
    return encode(gallery, slice(0, len(gallery)), metric, choose("float32", metric))


class _Wanted(NamedTuple):
    """What is looked for; `told` says whether its progress is."""

    gallery: Embeddings
    depth: int
    metric: str
    lowest: bool
    in_order: bool = False
    told: bool = True


def _search(
    queries: Embeddings,
    wanted: _Wanted,
    scan: Scan,
    blocks_for: Callable[[Scan, Mapped], Iterable[Block]],
    total: int,
) -> Neighbors:
    order, place = _order(wanted)
    keys = np.full((len(queries), wanted.depth), EMPTY, np.uint64)
    low = np.full(len(queries), np.inf, np.float32)
    if keys.size:
        # A thread for a few queries costs more than it saves.
        count = min(workers(), len(queries) // FEW_ROWS)
        rows = min(scan.tile[0], -(-len(queries) // max(1, count)))
        lowest = low if wanted.lowest else None
        search = BlockedSearch(queries, place, wanted.metric, scan, keys, lowest)
        with scan.ready(), threads(count) as mapped:
            search.run(blocks_for(scan, mapped), total, mapped, rows, wanted.told)
    rows_found = order[places_of(keys)] if wanted.depth else np.empty(keys.shape, np.int64)
    return Neighbors(rows_found, scores_of(keys), low, scan.name)


def _order(wanted: _Wanted) -> tuple[np.ndarray, np.ndarray]:
    if not wanted.in_order:
        return id_order(wanted.gallery.known_ids)
    rows = np.arange(len(wanted.gallery))
    return rows, rows.astype(np.uint32)


def workers() -> int:
    """How many threads may work: OMP_NUM_THREADS when set, else the cores this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdigit() and int(named):
        return int(named)
    return count_processors()
