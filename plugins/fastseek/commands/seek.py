"""Embeddings to rankings by call strings: enhance, search, re-rank."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from .. import enhance, rerank, search  # noqa: F401  (so that every part is in its registry)
from ..errors import DataError
from ..files import PathLike, check_writable
from ..registry import ENHANCERS, RERANKERS, SEARCHERS, build
from ..structures import Embeddings, Ranking


def seek(queries: Embeddings, gallery: Embeddings, search_call: str, enhance_calls: Sequence[str] = (),
         rerank_calls: Sequence[str] = ()) -> list[Ranking]:
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
    enhancers = [build(call, ENHANCERS) for call in enhance_calls]
    searcher = build(search_call, SEARCHERS)
    rerankers = [build(call, RERANKERS) for call in rerank_calls]
    for enhancer in enhancers:
        search.passports.check_same_model(queries, gallery)
        queries, gallery = enhancer(queries, gallery)
    rankings = [searcher(queries, gallery)]
    for reranker in rerankers:
        rankings.append(reranker(rankings[-1], queries, gallery))
    return rankings


def seek_files(queries: PathLike, gallery: PathLike, out: PathLike, search_call: str,
               enhance_calls: Sequence[str] = (), rerank_calls: Sequence[str] = ()) -> str:
    """Read embeddings, rank, and write the last ranking as an .npz file.

    Args:
        queries, gallery: embeddings folders (their bytes are compared with their hashes), .npy or .safetensors files.
        out: the .npz file.
        search_call, enhance_calls, rerank_calls: as for `seek`.

    Returns:
        one line that tells what was done.

    Raises:
        ArtefactError: a file is damaged, or the embeddings do not fit.
        DataError: as for `seek`, and when a side is empty.
        UsageError: as for `seek`, and when `out` cannot be written; told before any work is done.
    """
    check_writable(out)
    ranking = seek(_read(queries), _read(gallery), search_call, enhance_calls, rerank_calls)[-1]
    ranking.save(out)
    count, depth = ranking.indices.shape
    return f"{count} queries, {depth} of {len(ranking.gallery_ids)} images each: {out}"


def _read(path: PathLike) -> Embeddings:
    embeddings = Embeddings.load(path)
    if pathlib.Path(path).is_dir():
        embeddings.verify(path)
    if not len(embeddings):
        raise DataError(f"{path}: holds no embeddings, so there is nothing to search: embed some photos first")
    return embeddings
