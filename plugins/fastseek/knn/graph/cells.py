"""A set of vectors divided into cells by k-means, near ones side by side on the disk."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from ...io.atomic import atomic
from ...progress import progress
from ...structures import Embeddings
from ...structures.archive import load_npz, save_npz
from ...structures.arrays import IntArray, VectorArray
from ...structures.embeddings import slice_embeddings
from ...structures.shard_files import map_array
from ..nearest import id_order, nearest_in_order
from ..vectors import unit_vectors

ROWS = 65536
LEARNED = 64  # vectors a cell that the centroids are learned from
ROUNDS = 8  # of k-means
GROUPED, ROWS_FILE, PLACES_FILE, CELLS_FILE = (
    "grouped.npy",
    "rows.npy",
    "places.npy",
    "cells.npz",
)
FILES = (GROUPED, ROWS_FILE, PLACES_FILE, CELLS_FILE)


class Cells(NamedTuple):
    """Vectors in the order of their cells, in which a position is counted.

    `vectors` [N, D] as they were given; `rows` [N] the row of every position; `places` [N] its
    place in the order of the ids; `starts` [C + 1] the first position of every cell; `centroids`
    [C, D].
    """

    vectors: VectorArray
    rows: np.ndarray
    places: np.ndarray
    starts: IntArray
    centroids: Embeddings


def divide(embeddings: Embeddings, count: int, metric: str, seed: int) -> Cells:
    """The cells of some embeddings, the vectors where they are and not in order.

    Centroids are those of k-means on a sample; an image's cell is that of its nearest centroid.
    Both are exact and summed in the order of the ids, so that neither threads nor the order of the
    rows change anything.

    Args:
        embeddings: with vectors [N, D].
        count: how many cells.
        metric: "cosine" or "l2".
        seed: of sample and first centroids.

    Raises:
        DataError: a vector cannot be scored; names its id.
    """
    order, place = id_order(embeddings.ids)
    centroids = _learn_centroids(embeddings, order, count, metric, seed)
    number = np.empty(len(embeddings), np.int32)
    for start in progress(range(0, len(embeddings), ROWS), "cells"):
        block = slice_embeddings(embeddings, start, start + ROWS)
        number[start : start + ROWS] = nearest_in_order(block, centroids, 1, metric).rows[:, 0]
    rows = np.lexsort((place, number))
    starts = np.searchsorted(number[rows], np.arange(count + 1)).astype(np.int64)
    return Cells(embeddings.vectors, rows, place[rows], starts, centroids)


def _learn_centroids(
    embeddings: Embeddings, order: IntArray, count: int, metric: str, seed: int
) -> Embeddings:
    """The centroids [C, D] of k-means, Lloyd's, on a sample of the vectors."""
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(order))[: LEARNED * count])
    rows = order[chosen]
    sample = Embeddings(embeddings.ids[rows], np.asarray(embeddings.vectors[rows], np.float32))
    vectors = sample.vectors if metric == "l2" else unit_vectors(np.asarray(sample.vectors))[0]
    centroids = np.array(vectors[np.sort(random.permutation(len(rows))[:count])])
    for _ in progress(range(ROUNDS), "centroids"):
        found = nearest_in_order(sample, name_rows(centroids), 1, metric).rows[:, 0]
        centroids = _average(np.asarray(vectors), found, centroids, metric)
    return name_rows(centroids[_walk(centroids, metric)])


def _walk(centroids: np.ndarray, metric: str) -> IntArray:
    """An order in which cells that are near each other stand together: images of one run of cells
    then look into few others.
    """
    leaders = name_rows(centroids[:: max(1, round(len(centroids) ** 0.5))])
    leader = nearest_in_order(name_rows(centroids), leaders, 1, metric).rows[:, 0]
    return np.argsort(leader, kind="stable")


def _average(
    vectors: np.ndarray, number: np.ndarray, before: np.ndarray, metric: str
) -> np.ndarray:
    """The means of the vectors by number; the centroid as it was where there is none."""
    made = before.copy()
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(before) + 1))
    for cell in np.flatnonzero(np.diff(bounds)):
        mean = vectors[order[bounds[cell] : bounds[cell + 1]]].mean(axis=0, dtype=np.float64)
        # Opposite vectors have no direction in the mean.
        if metric == "l2" or np.abs(mean).max() > 1e-9:
            made[cell] = mean
    return made


def name_rows(vectors: np.ndarray) -> Embeddings:
    """Vectors whose ids nobody will read."""
    return Embeddings(np.arange(len(vectors)).astype(str), vectors)


def save_cells(folder: pathlib.Path, cells: Cells) -> None:
    """Write cells into a folder, their vectors in order, `CELLS_FILE` last."""
    with atomic(folder / GROUPED) as file:
        count, dim = cells.vectors.shape
        kind = np.lib.format.dtype_to_descr(cells.vectors.dtype)
        told = {"descr": kind, "fortran_order": False, "shape": (count, dim)}
        np.lib.format.write_array_header_1_0(file, told)
        for start in progress(range(0, count, ROWS), "vectors by cell"):
            block = np.asarray(cells.vectors[cells.rows[start : start + ROWS]])
            file.write(np.ascontiguousarray(block).data)
    for name, array in ((ROWS_FILE, cells.rows), (PLACES_FILE, cells.places)):
        with atomic(folder / name) as file:
            np.save(file, array, allow_pickle=False)
    kept = _Kept(cells.starts, np.asarray(cells.centroids.vectors))
    save_npz(folder / CELLS_FILE, kept, _Kept._fields, {})


def load_cells(folder: pathlib.Path) -> Cells:
    """Open what `save_cells` wrote, memory-mapped.

    Raises:
        DataError, ArtefactError: it is not there, or damaged.
    """
    kept = _Kept(**load_npz(folder / CELLS_FILE, _Kept._fields)[0])
    vectors, rows, places = (map_array(folder / name) for name in (GROUPED, ROWS_FILE, PLACES_FILE))
    return Cells(vectors, rows, places, kept.starts, name_rows(kept.centroids))


class _Kept(NamedTuple):
    """What an .npz file holds of cells."""

    starts: np.ndarray
    centroids: np.ndarray
