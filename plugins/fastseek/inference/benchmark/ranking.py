"""One task of a benchmark: its images are searched and scored, in blocks where lists are long."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError, UsageError
from ...knn.align import rows_of
from ...metrics import evaluate
from ...registry import parse, unparse
from ...retrieval import Parts, build_parts, rank_with
from ...structures import Embeddings, Ranking, Score, Task
from ...structures.embeddings import slice_embeddings
from ...structures.provenance import check_same_model

ANSWERS = 1 << 26  # of all queries together that are held at once


class Calls(NamedTuple):
    """How a benchmark is searched.

    Args:
        search: call string of SEARCHERS; where it tells no k it gets what the task needs.
        enhance, rerank: call strings of ENHANCERS and RERANKERS.
    """

    search: str = "exact()"
    enhance: tuple[str, ...] = ()
    rerank: tuple[str, ...] = ()

    def build(self, depth: int) -> Parts:
        """The parts, for lists of a depth.

        Raises:
            UsageError: a call string is wrong.
        """
        name, args, kwargs = parse(self.search)
        if not args and "k" not in kwargs:
            kwargs = {"k": depth, **kwargs}
        return build_parts(unparse(name, args, kwargs), self.enhance, self.rerank)


class Scored(NamedTuple):
    """A task's figures.

    Args:
        scores: in the order of the task's metrics.
        ranking: the last one, in the order of the truth; None where it was scored in blocks.
    """

    scores: list[Score]
    ranking: Ranking | None


def score_task(task: Task, embeddings: Embeddings, calls: Calls, most: int = ANSWERS) -> Scored:
    """Search and score a task.

    Args:
        task: what is asked.
        embeddings: of all its images; gallery images without a vector count as not found.
        calls: how it is searched.
        most: answers held at once; more are scored in blocks of queries, which re-rankers, who see
            all queries, do not allow.

    Raises:
        DataError: a query has no vector. UsageError: a metric is no mean over queries and the
            lists are too long for it.
    """
    parts = calls.build(task.depth)
    queries, gallery, known = _sides(task, embeddings)
    for enhancer in parts.enhancers:
        check_same_model(queries, gallery)
        queries, gallery = enhancer(queries, gallery)
    parts = parts._replace(enhancers=[])
    rows = len(queries) if parts.rerankers else max(1, most // task.depth)
    found = list(_score_blocks(task, parts, (queries, gallery), known, rows))
    blocks = [(here, scores) for here, scores, _ in found]
    lost = len(task.gallery) - len(known)
    told = {"unreadable": f"{lost} gallery images, which count as not found"} if lost else {}
    return Scored(_join_blocks(blocks, len(queries), told), found[-1][2])


def _sides(task: Task, embeddings: Embeddings) -> tuple[Embeddings, Embeddings, np.ndarray]:
    """The vectors of both sides, and which rows of the task's gallery they are of."""
    asked = rows_of(task.truth.query_ids, embeddings.ids)
    missing = np.flatnonzero(asked < 0)
    if len(missing):
        raise DataError(
            f"{task.queries[int(missing[0])].path}: query image cannot be read; {len(missing)} of"
            f" {len(asked)} queries have no vector, see rejects.csv: figures over fewer mislead"
        )
    found = rows_of(task.truth.gallery_ids, embeddings.ids)
    known = np.flatnonzero(found >= 0)
    gallery = _take(embeddings, found[known])
    if task.queries is task.gallery and len(known) == len(asked):
        return gallery, gallery, known
    return _take(embeddings, asked), gallery, known


def _take(embeddings: Embeddings, rows: np.ndarray) -> Embeddings:
    """Some rows; all of them, in their order, stay where they lie."""
    if np.array_equal(rows, np.arange(len(embeddings))):
        return embeddings
    return Embeddings(embeddings.ids[rows], embeddings.vectors[rows], embeddings.provenance)


def _score_blocks(
    task: Task,
    parts: Parts,
    sides: tuple[Embeddings, Embeddings],
    known: np.ndarray,
    rows: int,
) -> Iterator[tuple[slice, list[Score], Ranking | None]]:
    """Yield which queries, their scores, and the ranking where it is of all of them."""
    queries, gallery = sides
    answered = np.diff(task.truth.relevant_starts) > 0
    for start in range(0, len(queries), rows):
        stop = min(start + rows, len(queries))
        some = queries if stop - start == len(queries) else slice_embeddings(queries, start, stop)
        ranking = _place(list(rank_with(parts, some, gallery))[-1], task, known)
        truth, here = task.truth, slice(start, stop)
        if some is queries:
            yield here, evaluate(ranking, truth, task.metrics), ranking
        elif answered[here].any():
            part = truth.subset(np.arange(start, stop))
            yield here, evaluate(ranking, part, task.metrics), None


def _place(ranking: Ranking, task: Task, known: np.ndarray) -> Ranking:
    """The ranking over the task's whole gallery; images without a vector are in no list."""
    if len(known) == len(task.gallery):
        return ranking
    indices = np.where(ranking.indices < 0, -1, known[ranking.indices])
    # A list that ends before the images do was cut on purpose, and is as short as it is.
    whole = indices.shape[1] == len(known)
    short = min(task.depth, len(task.gallery)) - indices.shape[1] if whole else 0
    pad = (0, 0), (0, max(0, short))
    indices = np.pad(indices, pad, constant_values=-1)
    scores = np.pad(ranking.scores, pad, constant_values=-np.inf)
    return Ranking(ranking.query_ids, task.truth.gallery_ids, indices, scores, ranking.provenance)


def _join_blocks(
    blocks: Sequence[tuple[slice, list[Score]]], count: int, told: dict[str, str]
) -> list[Score]:
    if not blocks:
        raise DataError("no query has a relevant image in the gallery; check labels and groups")
    joined = []
    for number, first in enumerate(blocks[0][1]):
        protocol = {**first.protocol, **told}
        if len(blocks) > 1 or blocks[0][0] != slice(0, count):
            of_metric = [scores[number] for _, scores in blocks]
            first = join_queries(of_metric, protocol)
            every = np.full(count, np.nan)  # blocks without an answer are left out
            for (here, _), score in zip(blocks, of_metric, strict=True):
                every[here] = score.per_query
            counts = {"queries": count, "skipped": int(np.isnan(every).sum())}
            first = dataclasses.replace(first, per_query=every)
            protocol = {**first.protocol, **counts}
        joined.append(dataclasses.replace(first, protocol=protocol))
    return joined


def join_queries(scores: Sequence[Score], protocol: Mapping[str, Any]) -> Score:
    """One score over the queries of several.

    Raises:
        UsageError: it is no mean over queries.
    """
    name = scores[0].name
    values = [score.per_query for score in scores if score.per_query is not None]
    if len(values) < len(scores):
        raise UsageError(f"{name} is no mean over queries, so parts of it cannot be joined")
    every = np.concatenate(values)
    counts = {
        key: sum(int(score.protocol.get(key, 0)) for score in scores)
        for key in ("queries", "counted", "skipped")
    }
    return Score(name, float(np.nanmean(every)), every, {**protocol, **counts})
