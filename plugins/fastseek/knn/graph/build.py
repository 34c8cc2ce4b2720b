"""The kNN graph of a set of images, built by any number of processes that share a folder."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArtefactError, UsageError
from ...io.atomic import atomic
from ...io.digests import sha256
from ...io.json_files import read_json, write_json
from ...io.locks import take_turn
from ...io.paths import PathLike, refuse_occupied
from ...progress import progress
from ...structures import Embeddings
from ...structures.arrays import FloatArray, Shards
from ...structures.embeddings import slice_embeddings
from ...structures.job_part import ALL, JobPart
from ...structures.shard_files import map_array
from ..fingerprint import fingerprint
from ..nearest import id_order, nearest
from .cells import CELLS_FILE, FILES, divide, load_cells, save_cells
from .join import leave_out, search_cells
from .knn_graph import FORMAT, NEIGHBORS, PAGE, SCORES, KnnGraph

EXACT_ROWS = 50_000  # images up to which all pairs are compared when nothing is said
CELLS = 2.0  # cells for a square root of the images
PROBES = 12
SHARD_ROWS, MOST_SHARDS = 32768, 128
SAMPLE = 1000  # images on which the recall is measured
PLAN = "plan.json"
METRICS = ("cosine", "l2")


class _Shape(NamedTuple):
    """How a graph is written: `shards` files of `rows` images, `k` neighbors of `kind`."""

    rows: int
    shards: int
    k: int
    kind: type


def build_knn_graph(
    embeddings: Embeddings,
    k: int,
    folder: PathLike | None = None,
    *,
    metric: str = "cosine",
    cells: int | None = None,
    probes: int = PROBES,
    part: JobPart = ALL,
) -> KnnGraph | None:
    """Find the k nearest other images of every image.

    Up to 50,000 images all pairs are compared. More are divided into cells by k-means, and an
    image's neighbors are looked for in the `probes` cells whose centroids are nearest to it; scores are exact all the same, and the share of the true neighbors that was found is
    measured on 1,000 images. Memory: about 30 bytes an image, and a shard.

    In a folder the work is cut into shards. Process i of n makes the shards i, i + n, …; one after
    the other or at the same time, on machines that share the folder. Each may be killed and started
    again; whoever sees the last shard writes the graph. Its bytes are the same for any n and any
    number of threads.

    Args:
        embeddings: N images.
        k: neighbors of an image; N - 1 when there are fewer.
        folder: gets the graph; None keeps it in memory.
        metric: "cosine", or "l2" (minus the squared Euclidean distance).
        cells: how many; 0 to compare all pairs; by the number of images when None.
        probes: cells searched for a cell, itself among them.
        part: which shards are made.

    Returns:
        the graph, or None while shards of other parts are missing.

    Raises:
        UsageError: an illegal choice.
        DataError: a vector cannot be compared; names its id.
        ArtefactError: the folder holds another graph, or a damaged one.
    """
    plan = _plan(embeddings, k, metric, cells, probes)
    if folder is None:
        if part.count > 1:
            raise UsageError("a graph that is built in parts needs a folder that they share")
        with tempfile.TemporaryDirectory() as made:
            graph = _build(embeddings, pathlib.Path(made), plan, ALL)
            assert graph is not None  # there is one part only
            return KnnGraph(np.array(graph.neighbors), np.array(graph.scores), graph.facts)
    return _build(embeddings, pathlib.Path(folder), plan, part)


def _plan(
    embeddings: Embeddings, k: int, metric: str, cells: int | None, probes: int
) -> dict[str, Any]:
    """What shapes the graph."""
    if k < 1 or probes < 1 or metric not in METRICS:
        raise UsageError(
            f"a kNN graph needs k and probes of 1 or more and a metric of {', '.join(METRICS)},"
            f" got {k}, {probes} and {metric!r}"
        )
    images = len(embeddings)
    if cells is None:
        cells = 0 if images <= EXACT_ROWS else round(CELLS * images**0.5)
    if not 0 <= cells <= images:
        raise UsageError(f"{images} images cannot be divided into {cells} cells")
    made = {"format": FORMAT, "images": images, "k": min(k, max(0, images - 1)), "metric": metric}
    return {
        **made,
        "cells": cells,
        "probes": probes if cells else 0,
        "embeddings": fingerprint(embeddings),
    }


def _build(
    embeddings: Embeddings, folder: pathlib.Path, plan: Mapping[str, Any], part: JobPart
) -> KnnGraph | None:
    shape = _shape(plan)
    with take_turn(folder):
        _claim(folder, plan)
        if (folder / PAGE).exists():
            return KnnGraph.load(folder, verify=True)
        if plan["cells"] and not (folder / CELLS_FILE).exists():
            divided = divide(embeddings, plan["cells"], plan["metric"], 0)
            save_cells(folder, divided)
            del divided
        # Whoever finishes the graph removes the cells: they are opened while nobody can.
        cells = load_cells(folder) if plan["cells"] else None
        missing = [one for one in part.shards(shape.shards) if not _is_made(folder, one)]
    for shard in progress(missing, f"kNN graph{part.suffix}"):
        if (folder / PAGE).exists():  # others have made these meanwhile
            break
        start, stop = shard * shape.rows, min((shard + 1) * shape.rows, plan["images"])
        if cells is None:
            found = _search_all(embeddings, start, stop, plan)
        else:
            found = search_cells(cells, start, stop, plan["k"], plan["metric"], plan["probes"])
        _save_shard(folder, shard, shape, *found)
    del cells
    with take_turn(folder):
        if (folder / PAGE).exists():
            return KnnGraph.load(folder, verify=True)
        if not all(_is_made(folder, shard) for shard in range(shape.shards)):
            return None
        _finish(embeddings, folder, plan, shape)
        return KnnGraph.load(folder)


def _claim(folder: pathlib.Path, plan: Mapping[str, Any]) -> None:
    """Write down what the folder is for, or check that it is for this.

    Raises:
        ArtefactError: it is for another graph.
    """
    file = folder / PLAN
    if not file.exists():
        refuse_occupied(folder, "kNN graph")
        write_json(file, dict(plan))
        return
    there = read_json(file)
    told = there if isinstance(there, dict) else {}
    wrong = [key for key in plan if told.get(key) != plan[key]]
    if wrong:
        raise ArtefactError(
            f"{folder}: holds a kNN graph of other {', '.join(wrong)}: name another folder, or"
            " remove this one"
        )


def _shape(plan: Mapping[str, Any]) -> _Shape:
    images = plan["images"]
    rows = max(SHARD_ROWS, -(-images // MOST_SHARDS))
    kind = np.int32 if images <= np.iinfo(np.int32).max else np.int64
    return _Shape(rows, max(1, -(-images // rows)), plan["k"], kind)


def _search_all(
    embeddings: Embeddings, start: int, stop: int, plan: Mapping[str, Any]
) -> tuple[np.ndarray, FloatArray]:
    """Neighbors and scores of the rows start to stop, all pairs compared."""
    asked = slice_embeddings(embeddings, start, stop)
    found = nearest(asked, embeddings, plan["k"] + 1, plan["metric"], lowest=False)
    return leave_out(np.arange(start, stop), found.rows, found.scores)


def _shard_files(folder: pathlib.Path, shard: int) -> tuple[pathlib.Path, pathlib.Path]:
    return folder / f"{shard:05d}.neighbors.npy", folder / f"{shard:05d}.scores.npy"


def _is_made(folder: pathlib.Path, shard: int) -> bool:
    return all(file.exists() for file in _shard_files(folder, shard))


def _save_shard(
    folder: pathlib.Path, shard: int, shape: _Shape, neighbors: np.ndarray, scores: FloatArray
) -> None:
    made: tuple[np.ndarray, ...] = neighbors.astype(shape.kind), scores
    for file, array in zip(_shard_files(folder, shard), made, strict=True):
        with atomic(file) as out:
            np.save(out, array, allow_pickle=False)


def _finish(
    embeddings: Embeddings, folder: pathlib.Path, plan: Mapping[str, Any], shape: _Shape
) -> None:
    """Put the shards together in the order of the rows, measure the recall, write the page, and
    remove what is not needed any more.
    """
    position = order = None
    if plan["cells"]:
        rows = load_cells(folder).rows
        position = np.empty(len(rows), np.int64)
        position[rows] = np.arange(len(rows))
        order = id_order(embeddings.ids)[0]
    files = [_shard_files(folder, shard) for shard in range(shape.shards)]
    for name, some in zip((NEIGHBORS, SCORES), zip(*files, strict=True), strict=True):
        shards = Shards([map_array(file) for file in some])
        _put_together(folder / name, shards, position, order if name == NEIGHBORS else None)
    facts = {key: value for key, value in plan.items() if key not in ("format", "images", "k")}
    facts |= {"exact": not plan["cells"], "passport": dict(embeddings.provenance)}
    facts["recall"] = _measure_recall(embeddings, map_array(folder / SCORES), plan)
    page = {
        "format": FORMAT,
        "images": plan["images"],
        "k": plan["k"],
        "facts": facts,
        "files": {name: sha256(folder / name) for name in (NEIGHBORS, SCORES)},
    }
    write_json(folder / PAGE, page)
    for file in [one for pair in files for one in pair] + [folder / name for name in FILES]:
        file.unlink(missing_ok=True)


def _put_together(
    file: pathlib.Path, shards: Shards, position: np.ndarray | None, order: np.ndarray | None
) -> None:
    """Write the rows of all shards.

    Args:
        file: a .npy file.
        shards: what is put together.
        position: where an image stands in them; None where they are in order.
        order: the row of every place, where they tell places.
    """
    told = {
        "descr": np.lib.format.dtype_to_descr(shards.dtype),
        "fortran_order": False,
        "shape": shards.shape,
    }
    with atomic(file) as out:
        np.lib.format.write_array_header_1_0(out, told)
        for start in range(0, len(shards), SHARD_ROWS):
            here = slice(start, min(start + SHARD_ROWS, len(shards)))
            block = shards[here if position is None else position[here]]
            if order is not None:
                block = np.where(block < 0, -1, order[block]).astype(shards.dtype)
            out.write(np.ascontiguousarray(block).data)


def _measure_recall(
    embeddings: Embeddings, scores: np.ndarray, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """The share of the true neighbors that was found, on some images.

    A neighbor counts when it is as near as the true k-th: of equal images any will do.
    """
    told = {"k": plan["k"], "value": 1.0, "images": plan["images"], "seed": 0}
    if not plan["cells"] or not plan["k"]:
        return told
    chosen = np.sort(np.random.default_rng(0).permutation(len(embeddings))[:SAMPLE])
    asked = Embeddings(embeddings.ids[chosen], np.asarray(embeddings.vectors[chosen]))
    found = nearest(asked, embeddings, plan["k"] + 1, plan["metric"], lowest=False)
    right = leave_out(chosen, found.rows, found.scores)[1]
    value = float((np.asarray(scores[chosen]) >= right[:, -1:]).mean())
    return told | {"value": round(value, 6), "images": len(chosen)}
