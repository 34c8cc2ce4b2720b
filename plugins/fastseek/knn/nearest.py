"""Exact nearest neighbours in bounded memory: the one kernel under search, re-ranking and query
expansion.

A scan compares all pairs in a cheap precision and proposes every pair that its error could put
among the best k; each of those is then scored in float64. So scores depend on their two vectors
alone, not on the precision of the scan, on block size, order of rows or BLAS; equal vectors get
equal scores, and ties can be settled by id.
"""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

import numpy as np

from ..structures import Embeddings
from .blocked import BLOCK_ROWS, Block, BlockedSearch, iterate_blocks, threads
from .scan import Scan, choose
from .sort_keys import EMPTY, id_order, places_of, scores_of, sort_keys
from .topk import BoundViolated
from .vectors import METRICS, blocks, pair_scores, similarities

__all__ = [
    "EMPTY",
    "GALLERY_ROWS",
    "METRICS",
    "Neighbours",
    "blocks",
    "id_order",
    "nearest",
    "pair_scores",
    "places_of",
    "scores_of",
    "similarities",
    "sort_keys",
]
GALLERY_ROWS = BLOCK_ROWS
FEW_ROWS = 64  # fewer queries than this a thread are left to one thread
logger = logging.getLogger("fastseek")


class Neighbours(NamedTuple):
    """The answer of `nearest`.

    `rows` [Q, K] int64 gallery rows, best first; `scores` [Q, K] float32, larger is better;
    `lowest` [Q] float32, the score of the farthest gallery row, inf where it was not asked for;
    `scan` the precision of the comparison.
    """

    rows: np.ndarray
    scores: np.ndarray
    lowest: np.ndarray
    scan: str


def nearest(
    queries: Embeddings,
    gallery: Embeddings,
    k: int,
    metric: str = "cosine",
    gallery_rows: int = GALLERY_ROWS,
    scan: str = "auto",
    lowest: bool = True,
    kept: Block | None = None,
    widen: int = 0,
) -> Neighbours:
    """Find the k best gallery rows of every query; equal scores stand in the order of their ids.

    Args:
        queries, gallery: of one dimension D; never loaded whole, never changed.
        k: how many; all of the gallery when it is smaller.
        metric: "cosine", "ip" (inner product) or "l2" (minus the squared Euclidean distance).
        gallery_rows: rows of the gallery held at once.
        scan: "float32", "bfloat16", "int8", "cuda", or "auto" for the fastest here. The answer is
            the same.
        lowest: whether the farthest row is wanted too.
        kept: the whole gallery, coded before for this scan and metric.
        widen: 0 for an answer that is surely exact; else only the widen * k best by the scan are
            scored exactly.

    Raises:
        DataError: a vector is not finite, zero and so without a cosine, or too long to score; names
            its id.
        UsageError: the scan cannot be had here.
    """
    picked = choose(scan, metric, len(queries) * len(gallery) * queries.dim)
    picked.proven = not widen
    try:
        found = _nearest(
            queries,
            gallery,
            min(k * max(1, widen), len(gallery)),
            metric,
            gallery_rows,
            picked,
            lowest,
            kept,
        )
        return found._replace(rows=found.rows[:, :k], scores=found.scores[:, :k])
    except BoundViolated as error:
        logger.warning("%s: searching again in float32", error)
        again = choose("float32", metric)
        return _nearest(
            queries, gallery, min(k, len(gallery)), metric, gallery_rows, again, lowest, None
        )


def _nearest(
    queries: Embeddings,
    gallery: Embeddings,
    depth: int,
    metric: str,
    gallery_rows: int,
    scan: Scan,
    lowest: bool,
    kept: Block | None,
) -> Neighbours:
    order, place = id_order(gallery.ids)
    keys = np.full((len(queries), depth), EMPTY, np.uint64)
    low = np.full(len(queries), np.inf, np.float32)
    if keys.size:
        count = min(workers(), len(queries) // FEW_ROWS)
        rows = min(scan.tile[0], -(-len(queries) // max(1, count)))
        hunt = BlockedSearch(queries, place, metric, scan, keys, low if lowest else None)
        with scan.ready(), threads(count) as mapped:
            found = (
                iterate_blocks(gallery, metric, scan, gallery_rows, mapped)
                if kept is None
                else [kept]
            )
            hunt.over(found, -(-len(gallery) // gallery_rows) if kept is None else 1, mapped, rows)
    return Neighbours(
        order[places_of(keys)] if depth else np.empty(keys.shape, np.int64),
        scores_of(keys),
        low,
        scan.name,
    )


def workers() -> int:
    """How many threads may work: OMP_NUM_THREADS when set, else the cores this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() and int(named) else len(os.sched_getaffinity(0))
