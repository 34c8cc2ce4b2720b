"""Search, re-rank, fuse and evaluate, from Python."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..adapt import METHODS, Adapted, Trying, fit_adapter
from ..errors import UsageError
from ..io.paths import PathLike
from ..metrics import evaluate as evaluate_calls
from ..metrics import usual_metrics
from ..metrics._align import align
from ..registry import FUSERS, RERANKERS, SEARCHERS, build, parse, unparse
from ..retrieval import retrieve
from ..structures import Embeddings, Ranking, Score
from ..structures.label_file import read_labels
from .embedding import are_images, embed_like
from .inputs import Calls, Truth, Vectors, as_calls, as_embeddings, load_truth

if TYPE_CHECKING:
    from .embedding import Images


def search(
    queries: Vectors | Images,
    gallery: Vectors,
    k: int | None = None,
    search: str = "exact",
    enhance: Calls = (),
    rerank: Calls = (),
) -> Ranking:
    """Rank a gallery for every query.

    Args:
        queries, gallery: embeddings of one model, arrays [N, D] of floats (row numbers become the
            ids), or the paths of embeddings. The queries may be an image, its file, or a list of
            either: they are embedded by the gallery's model, if that is one by name.
        k: how many images a query gets; 100 where neither this nor `search` says it.
        search: call string of a searcher, such as "exact(metric='l2')".
        enhance: call strings applied to both sides before the search, in order.
        rerank: call strings applied to what was found, in order.

    Raises:
        UsageError: a call string is wrong. ArtefactError: the sides are not of one model.
        DataError: a vector cannot be used; names its id.
    """
    call = _set_k(search, k)
    searched = as_embeddings(gallery, "gallery")
    asked = _as_queries(queries, searched)
    return retrieve(asked, searched, call, as_calls(enhance), as_calls(rerank))[-1]


def rerank(ranking: Ranking, queries: Vectors | Images, gallery: Vectors, calls: Calls) -> Ranking:
    """Put the images of a ranking into a better order.

    Args:
        ranking: what was found.
        queries, gallery: what it was found with, as for `search`.
        calls: call strings of re-rankers, such as "k_reciprocal(k1=20)", in order.

    Raises:
        UsageError: a call string is wrong. ArtefactError: ranking and embeddings do not belong
            together.
    """
    parts = [build(call, RERANKERS) for call in as_calls(calls)]
    searched = as_embeddings(gallery, "gallery")
    asked = _as_queries(queries, searched)
    for part in parts:
        ranking = part(ranking, asked, searched)
    return ranking


def adapt(
    embeddings: Vectors,
    labels: Mapping[str, str] | PathLike,
    methods: Calls = (),
    blend: float | None = None,
    folds: int = 3,
    seed: int = 0,
) -> Adapted:
    """Fit a linear layer on labeled vectors of a frozen model, and judge it on classes it was not
    fitted on.

    `adapted.judgement` tells what it does; `adapted.save("a.safetensors")` writes the file that
    the enhancer `adapter('a.safetensors')` applies.

    Args:
        embeddings: of the frozen model, as for `search`.
        labels: a mapping id -> label, or the path of a table id,label; images without one are left
            out.
        methods: call strings of adapter methods, of which the best is taken; "lda()" and "ridge()"
            when none is given.
        blend: weight of the layer against the vectors as they are, above 0 to 1; the best when
            None.
        folds: parts of the classes, each left out of a fit once; 0 to judge nothing.
        seed: of the folds.

    Raises:
        DataError: there are too few classes, or a vector cannot be used. UsageError: a call string
            is wrong.
    """
    if not isinstance(labels, Mapping | str | os.PathLike):
        raise UsageError(
            "labels: expected a mapping id -> label or the path of a table, got"
            f" {type(labels).__name__}"
        )
    side = as_embeddings(embeddings, "embeddings")
    known = labels if isinstance(labels, Mapping) else read_labels(labels, allow_empty=True)
    return fit_adapter(side, known, Trying(tuple(as_calls(methods)) or METHODS, blend, folds, seed))


def fuse(rankings: Sequence[Ranking], call: str = "reciprocal_rank()") -> Ranking:
    """Make one ranking of several.

    Args:
        rankings: of the same queries, in any order.
        call: call string of a fuser.

    Raises:
        UsageError: the call string is wrong, or there is no ranking. ArtefactError: the rankings
            are not of the same queries.
    """
    members = list(rankings) if isinstance(rankings, Iterable) else []
    if not isinstance(rankings, Iterable) or not all(isinstance(one, Ranking) for one in members):
        raise UsageError(
            f"expected a list of rankings, got {type(rankings).__name__}: fuse([one, other])"
        )
    return build(call, FUSERS)(members, None)


def evaluate(ranking: Ranking, truth: Truth, metrics: Calls = ()) -> list[Score]:
    """Score a ranking.

    Args:
        ranking: what was found.
        truth: a `GroundTruth`, or what `load_truth` takes: the path of a table, a mapping id ->
            label, or the labels of queries and gallery.
        metrics: call strings such as "map(100)"; recall(1), map and gap when none is given.

    Returns:
        the scores in the order of the calls; each knows how it came about.

    Raises:
        ArtefactError: ranking and truth are not over the same images. DataError: no query has a
            relevant image. UsageError: a call names no metric.
    """
    known = load_truth(truth, ranking)
    calls = as_calls(metrics) or usual_metrics(align(ranking, known), known)
    return evaluate_calls(ranking, known, calls)


def _as_queries(queries: Any, gallery: Embeddings) -> Embeddings:
    if are_images(queries):
        return embed_like(queries, gallery, "gallery")
    return as_embeddings(queries, "queries")


def _set_k(call: str, k: int | None) -> str:
    """The call string with k.

    Raises:
        UsageError: it has another k already, or the searcher takes none.
    """
    if k is None:
        return call
    if isinstance(k, np.integer):
        k = int(k)
    name, args, kwargs = parse(call)
    signature = inspect.signature(SEARCHERS.get(name))
    try:
        said = signature.bind_partial(*args, **kwargs).arguments.get("k", k)
    except TypeError:
        return call  # what is wrong with it is told when it is built
    if said != k or "k" not in signature.parameters:
        raise UsageError(f"k={k} and search={call!r}: say k once, in the call string")
    return unparse(name, args, kwargs) if args else unparse(name, (), {"k": k, **kwargs})
