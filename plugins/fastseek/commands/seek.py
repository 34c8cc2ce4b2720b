"""Embeddings to rankings by call strings: enhance, search, re-rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import enhance, rerank, search  # noqa: F401  (so that every part is in its registry)
from ..enhance.fits import SIDES
from ..errors import DataError
from ..files import PathLike, check_apart, check_writable
from ..kernel.vectors import blocks
from ..opened import open_embeddings
from ..passports import check_same_model
from ..registry import ENHANCERS, RERANKERS, SEARCHERS, build
from ..structures import Embeddings, Ranking

READ = (
    "fit",
    "reference",
    "labels",
    "queries",
    "gallery",
)  # options of parts that name what is read
WRITTEN = ("save", "file", "folder", "uri")  # and what is written
ROWS = 65536  # vectors looked at together for the one to blame


class _Parts(NamedTuple):
    """What the call strings of a search name."""

    enhancers: list[Any]
    searcher: Any
    rerankers: list[Any]


def seek(
    queries: Embeddings,
    gallery: Embeddings,
    search_call: str,
    enhance_calls: Sequence[str] = (),
    rerank_calls: Sequence[str] = (),
) -> list[Ranking]:
    """Rank the gallery for every query.

    Args:
        queries, gallery: embeddings of one model.
        search_call: call string of SEARCHERS.
        enhance_calls: call strings of ENHANCERS, applied to both before the search, in order.
        rerank_calls: call strings of RERANKERS, in order.

    Returns:
        the ranking after the search and after every re-ranking step.

    Raises:
        UsageError: a call string is wrong; told before any work is done.
        ArtefactError: the embeddings do not fit. DataError: a vector cannot be used; names its id.
    """
    return _ranked(_built(search_call, enhance_calls, rerank_calls), queries, gallery)


def seek_files(
    queries: PathLike,
    gallery: PathLike,
    out: PathLike,
    search_call: str,
    enhance_calls: Sequence[str] = (),
    rerank_calls: Sequence[str] = (),
) -> str:
    """Read embeddings, rank, and write the last ranking as an .npz file.

    Args:
        queries, gallery: embeddings folders (their bytes are compared with their hashes), .npy or
            .safetensors files.
        out: the .npz file.
        search_call, enhance_calls, rerank_calls: as for `seek`.

    Returns:
        one line that tells what was done.

    Raises:
        ArtefactError: a file is damaged, or the embeddings do not fit.
        DataError: as for `seek`, and names the file; also when a side is empty.
        UsageError: as for `seek`, and when `out` cannot be written, or it or a file that a part
            writes is an input; told before any work is done.
    """
    parts = _built(search_call, enhance_calls, rerank_calls)
    _check_outputs(parts, out, [queries, gallery])
    sides = {path: _read(path) for path in (queries, gallery)}
    try:
        ranking = _ranked(parts, sides[queries], sides[gallery])[-1]
    except DataError as error:
        raise _placed(error, sides) from error
    ranking.save(out)
    count, depth = ranking.indices.shape
    return f"{count} queries, {depth} of {len(ranking.gallery_ids)} images each: {out}"


def _built(search_call: str, enhance_calls: Sequence[str], rerank_calls: Sequence[str]) -> _Parts:
    return _Parts(
        [build(call, ENHANCERS) for call in enhance_calls],
        build(search_call, SEARCHERS),
        [build(call, RERANKERS) for call in rerank_calls],
    )


def _ranked(parts: _Parts, queries: Embeddings, gallery: Embeddings) -> list[Ranking]:
    for enhancer in parts.enhancers:
        check_same_model(queries, gallery)
        queries, gallery = enhancer(queries, gallery)
    rankings = [parts.searcher(queries, gallery)]
    for reranker in parts.rerankers:
        rankings.append(reranker(rankings[-1], queries, gallery))
    return rankings


def _check_outputs(parts: _Parts, out: PathLike, inputs: Sequence[PathLike]) -> None:
    """Refuse an `out`, and a file that a part writes, that this command reads."""
    every = [*parts.enhancers, *parts.rerankers, parts.searcher]
    while hasattr(every[-1], "searcher"):  # a search of parts holds another
        every.append(every[-1].searcher)
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


def _placed(error: DataError, sides: Mapping[PathLike, Embeddings]) -> DataError:
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


def _read(path: PathLike) -> Embeddings:
    embeddings = open_embeddings(path)
    if not len(embeddings):
        raise DataError(
            f"{path}: holds no embeddings, so there is nothing to search: embed some photos first"
        )
    return embeddings
