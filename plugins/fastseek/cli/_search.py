"""Embeddings to rankings by call strings: enhance, search, re-rank."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..enhance._fits import SIDES
from ..errors import DataError
from ..index import open_store
from ..io.atomic import check_apart, check_writable
from ..io.paths import PathLike
from ..knn.vectors import blocks
from ..retrieval import build_parts, rank_with
from ..structures import Embeddings
from ..structures.file_list import ListedImages, names_image
from ..structures.provenance import tell_root
from ._outputs import NOTHING, Beside, check_ranking_suffix, describe_ranking, save_ranking

READ = (
    "locals",
    "query_locals",
    "fit",
    "reference",
    "labels",
    "queries",
    "gallery",
)  # options of parts that name what is read
WRITTEN = ("save", "file", "folder", "uri")  # and what is written
ROWS = 65536  # vectors looked at together for the one to blame


def seek_files(
    queries: PathLike,
    gallery: PathLike,
    out: PathLike,
    search_call: str,
    enhance_calls: Sequence[str] = (),
    rerank_calls: Sequence[str] = (),
    beside: Beside = NOTHING,
) -> str:
    """Read embeddings, rank, and write the last ranking.

    Args:
        queries: embeddings, or images, see `read_queries`.
        gallery: an embeddings folder (its bytes are compared with their hashes), an .npy or a
            .safetensors file.
        out: the ranking, in the form its suffix says, see `save_ranking`.
        search_call, enhance_calls, rerank_calls: as for `seek`.
        beside: labels for a ranking that is a table, images for one that is a page.

    Returns:
        one line that tells what was done.

    Raises:
        ArtefactError: a file is damaged, or the embeddings do not fit.
        DataError: as for `seek`, and names the file; also when a side is empty.
        UsageError: as for `seek`, and when `out` cannot be written, or it or a file that a part
            writes is an input; told before any work is done.
    """
    parts = build_parts(search_call, enhance_calls, rerank_calls)
    check_ranking_suffix(out, beside)
    inputs = [queries, gallery, beside.labels]
    check_outputs([*parts.enhancers, *parts.rerankers, parts.searcher], out, inputs)
    searched = read_side(gallery)
    asked = searched if queries == gallery else read_queries(queries, searched, gallery)
    sides = {queries: asked, gallery: searched}
    try:
        ranking = list(rank_with(parts, asked, searched))[-1]
    except DataError as error:
        raise _blame_file(error, sides) from error
    unknown = save_ranking(ranking, out, beside)
    return f"{describe_ranking(ranking, out)}{unknown}"


class Asked(NamedTuple):
    """What is asked of a collection: answers a query, and a condition, "" for none."""

    k: int
    filter: str


def seek_collection(
    queries: PathLike,
    collection: str,
    out: PathLike,
    asked: Asked,
    rerank_calls: Sequence[str] = (),
    beside: Beside = NOTHING,
) -> str:
    """Search an index without a gallery at hand, and write the ranking.

    Re-rankers see the vectors of the images that were found, and of no others.

    Args:
        queries: as for `seek_files`; images are embedded by the model of the index.
        collection: a folder or URI, see `open_store`.
        out, rerank_calls, beside: as for `seek_files`.
        asked: how many answers, of which images.

    Raises:
        as `seek_files`, and `Store.search`.
    """
    parts = build_parts("exact(k=1)", (), rerank_calls)
    check_ranking_suffix(out, beside)
    check_outputs([*parts.rerankers, parts.searcher], out, [queries, beside.labels])
    with open_store(collection) as index:
        nothing = np.zeros((0, index.dim), np.float32)
        stand_in = Embeddings(np.zeros(0, str), nothing, index.provenance)
        given = read_queries(queries, stand_in, index.name)
        ranking = index.search(given, asked.k, asked.filter)
        if parts.rerankers:
            found = index.vectors(ranking.gallery_ids.tolist())
            for reranker in parts.rerankers:
                ranking = reranker(ranking, given, found)
    unknown = save_ranking(ranking, out, beside)
    return f"{describe_ranking(ranking, out)}{unknown}"


def check_outputs(every: Sequence[Any], out: PathLike, inputs: Sequence[PathLike | None]) -> None:
    """Check that neither `out` nor a file that a part writes is read by this command.

    Raises:
        UsageError: one is, or `out` cannot be written.
    """
    every = list(every)
    while (inner := getattr(every[-1], "searcher", None)) is not None:
        every.append(inner)  # a search of parts holds another
    inputs = [*inputs, *_files(every, READ)]
    written = list(_files(every, WRITTEN))
    for path in written:
        check_apart(path, inputs)
    pages = [f"{name}.json" for name in _files(every, ("file",))]  # beside an index
    check_writable(out, [*inputs, *written, *pages])


def _files(parts: Iterable[Any], options: Sequence[str]) -> Iterable[str]:
    """The names that these options of parts hold."""
    for given in (getattr(part, option, ()) for part in parts for option in options):
        several = given if isinstance(given, tuple) else (given,)
        yield from (
            name for name in several if isinstance(name, str) and name and name not in SIDES
        )


def _blame_file(error: DataError, sides: Mapping[PathLike, Embeddings]) -> DataError:
    """The error with the file that is to blame: bare vectors of both sides are known by the same
    row numbers.
    """
    metric = "cosine" if "cosine" in str(error) else "ip"
    for path, side in sides.items():
        try:
            for _ in blocks(side, metric, ROWS):
                pass
        except DataError as own:
            return DataError(f"{path}: {own}")
    return error


def read_queries(path: PathLike, gallery: Embeddings, source: PathLike) -> Embeddings:
    """The queries of a search: embeddings, or images, which are embedded by the gallery's model.

    Args:
        path: embeddings as `read_side` takes them, one image, a text file (.txt) that lists images,
            or a list that was read.
        gallery: what is searched.
        source: where that was read.

    Raises:
        DataError: an image cannot be read, or the gallery's model has no name; says what to do.
        DataError, ArtefactError: as `read_side`.
    """
    is_list = isinstance(path, ListedImages) or os.fspath(path).lower().endswith(".txt")
    if not is_list and not names_image(path):
        return read_side(path)
    from ..data.own_images import images_of  # it needs Pillow, which vectors do not
    from ..inference.pretrained.in_memory import (  # vectors are searched without torch
        embed_in_memory,
        load_model_of,
    )

    items, root = images_of(path)
    return embed_in_memory(load_model_of(gallery.provenance, str(source)), items, root)


def read_side(path: PathLike) -> Embeddings:
    """One side of a search, its bytes compared with their hashes.

    Raises:
        DataError, ArtefactError: it cannot be used, or is empty; names the file.
    """
    embeddings = tell_root(Embeddings.load(path, verify=True), path)
    if not len(embeddings):
        raise DataError(
            f"{path}: holds no embeddings, so there is nothing to search: embed some images first"
        )
    return embeddings
