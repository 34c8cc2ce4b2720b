"""Enhance, search, re-rank: the one place that knows this order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .registry import ENHANCERS, RERANKERS, SEARCHERS, build
from .structures import Embeddings, Ranking
from .structures.provenance import check_same_model


class Parts(NamedTuple):
    """What the call strings of a search name."""

    enhancers: list[Any]
    searcher: Any
    rerankers: list[Any]


def retrieve(
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
        ArtefactError: the embeddings do not fit.
        DataError: a vector cannot be used; names its id.
    """
    return list(rank_with(build_parts(search_call, enhance_calls, rerank_calls), queries, gallery))


def build_parts(
    search_call: str, enhance_calls: Sequence[str], rerank_calls: Sequence[str]
) -> Parts:
    """Build what the call strings name.

    Raises:
        UsageError: a call string is wrong.
    """
    return Parts(
        [build(call, ENHANCERS) for call in enhance_calls],
        build(search_call, SEARCHERS),
        [build(call, RERANKERS) for call in rerank_calls],
    )


def rank_with(parts: Parts, queries: Embeddings, gallery: Embeddings) -> Iterator[Ranking]:
    """Yield the ranking after the search, then after every re-ranking step.

    Raises:
        ArtefactError: the embeddings do not fit.
        DataError: a vector cannot be used; names its id.
    """
    for enhancer in parts.enhancers:
        check_same_model(queries, gallery)
        queries, gallery = enhancer(queries, gallery)
    ranking = parts.searcher(queries, gallery)
    yield ranking
    for reranker in parts.rerankers:
        ranking = reranker(ranking, queries, gallery)
        yield ranking
