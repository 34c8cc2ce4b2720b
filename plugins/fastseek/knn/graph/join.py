"""Neighbors of images within the cells that are nearest to them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...structures.arrays import FloatArray, IntArray, VectorArray
from ..blocked import threads
from ..nearest import nearest_in_order, workers
from ..scan import Codes, Scan, choose
from ..sort_keys import EMPTY, KeyArray, places_of, scores_of, sort_keys
from ..topk import TopK, Workspace
from ..vectors import pair_scores, unit_vectors
from .cells import Cells, name_rows

PIECE = 16384  # images that are searched together
TILE = 8192  # images of a cell they are compared with at once


def search_cells(
    cells: Cells, start: int, stop: int, k: int, metric: str, probes: int
) -> tuple[IntArray, FloatArray]:
    """The k best other images of the positions start to stop.

    Args:
        cells: from `divide`, saved and loaded.
        start, stop: positions.
        k: how many; fewer where the cells hold fewer.
        metric: "cosine" or "l2".
        probes: how many cells an image looks into.

    Returns:
        places [n, k] int64 in the order of the ids, -1 where there is none; scores [n, k] float32.
    """
    keys = np.empty((stop - start, k + 1), np.uint64)

    def search(first: int) -> None:
        last = min(first + PIECE, stop)
        keys[first - start : last - start] = _search_piece(cells, first, last, k, metric, probes)

    # Pieces of one size whatever the threads: fewer would cost, and none would change the answer.
    with threads(workers()) as mapped:
        for _ in mapped(search, range(start, stop, PIECE)):
            pass
    places = np.where(keys == EMPTY, -1, places_of(keys))
    return leave_out(np.asarray(cells.places[start:stop], np.int64), places, scores_of(keys))


def leave_out(own: np.ndarray, found: IntArray, scores: FloatArray) -> tuple[IntArray, FloatArray]:
    """Lists [n, K] without the image itself, which many equal images may have pushed off: [n, K -
    1].
    """
    width = found.shape[1]
    if not width:
        return found, scores
    here = found == own[:, None]
    away = np.where(here.any(axis=1), here.argmax(axis=1), width - 1)
    stay = np.arange(width) != away[:, None]
    shape = len(own), width - 1
    return found[stay].reshape(shape), scores[stay].reshape(shape)


def _search_piece(
    cells: Cells, first: int, last: int, k: int, metric: str, probes: int
) -> KeyArray:
    scan = choose("float32", metric)
    asked = name_rows(np.asarray(cells.vectors[first:last]))
    near = nearest_in_order(asked, cells.centroids, probes, metric).rows
    codes = _code(asked.vectors, metric, scan)
    keys = np.full((last - first, k + 1), EMPTY, np.uint64)
    most = max(4 * k, probes * len(cells.rows) // len(cells.centroids))
    for cell, rows in _visits(near):
        begin, end = _window(cells, cell, first, most)
        for here in range(begin, end, TILE):
            run = slice(here, min(here + TILE, end))
            keys[rows] = _compare(cells, run, codes.part(rows), keys[rows], scan, metric)
    return keys


def _visits(near: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield (cell, images [n] that look into it), the images' own cells first: from then on few
    others can be better.
    """
    for columns in (slice(0, 1), slice(1, None)):
        some = near[:, columns]
        cell = some.reshape(-1)
        order = np.argsort(cell, kind="stable")
        edges = np.flatnonzero(np.diff(cell[order], prepend=-1, append=-1))
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            mine = order[start:stop]
            yield int(cell[mine[0]]), mine // some.shape[1]


def _window(cells: Cells, cell: int, first: int, most: int) -> tuple[int, int]:
    """The positions of a cell that are looked at: of a very large one those about the images that
    are searched.
    """
    start, stop = int(cells.starts[cell]), int(cells.starts[cell + 1])
    begin = min(max(start, first - most // 2), max(start, stop - most))
    return begin, min(stop, begin + most)


def _compare(
    cells: Cells, run: slice, asked: Codes, keys: KeyArray, scan: Scan, metric: str
) -> KeyArray:
    """The best keys [n, k + 1] once a run of positions has been compared too."""
    gallery = _code(cells.vectors[run], metric, scan)
    places = np.asarray(cells.places[run])

    def exact(rows: np.ndarray, cols: np.ndarray) -> KeyArray:
        scores = pair_scores(asked.held, gallery.held, rows, cols, metric)
        return sort_keys(scores, places[cols])

    best = TopK(scan, asked, keys, exact)
    size = len(asked) * len(gallery)
    best.propose(gallery, 0, Workspace(scan.workspace(size), scan.mask(size)))
    return best.settle()


def _code(vectors: VectorArray, metric: str, scan: Scan) -> Codes:
    """The codes of vectors, which were checked when they were divided."""
    block = np.asarray(vectors, np.float32)
    block = unit_vectors(block)[0] if metric == "cosine" else np.ascontiguousarray(block)
    codes = scan.empty(*block.shape)
    scan.encode(block, codes, metric == "cosine")
    return codes
