"""Queries with what was found for them, marked right, wrong or junk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..structures import GroundTruth, Ranking


@dataclasses.dataclass(frozen=True)
class Hit:
    """One gallery image shown beside a query.

    Args:
        row: its row in the gallery.
        rank: its place with junk left out; None for junk and for what is not in the list.
        mark: "right", "wrong" or "junk".
        score: what the ranking says, None for what is not in the list.
    """

    row: int
    rank: int | None
    mark: str
    score: float | None


@dataclasses.dataclass(frozen=True)
class Case:
    """One query.

    Args:
        row: its row among the queries.
        first: "right" or "wrong", the first answer that is not junk; "open" when nothing answers
            the query.
        hits: the first `depth` of its list, best first.
        missed: the best relevant image that is not among the hits though a wrong one is; None
            without one.
        relevant: how many gallery images answer it.
        found: how many of them are among the hits.
    """

    row: int
    first: str
    hits: tuple[Hit, ...]
    missed: Hit | None
    relevant: int
    found: int


def all_hits(one: Case) -> list[Hit]:
    """Every gallery image shown beside a query, also the one that was missed."""
    return [*one.hits, *([one.missed] if one.missed else [])]


def case(ranking: Ranking, truth: GroundTruth, row: int, depth: int) -> Case:
    """Query number `row` with the first `depth` of its list."""
    relevant = truth.relevant_to(row)
    hits = list(mark_hits(ranking, truth, row))
    shown = hits[:depth]
    return Case(
        row,
        first_answer(hits, relevant),
        tuple(shown),
        _missed_answers(hits, shown, relevant),
        len(relevant),
        sum(hit.mark == "right" for hit in shown),
    )


def mark_hits(ranking: Ranking, truth: GroundTruth, row: int) -> Iterator[Hit]:
    """The whole list of query number `row`, each image with its mark."""
    indices = ranking.indices[row]
    indices = indices[indices >= 0]
    right = among(indices, truth.relevant_to(row))
    junk = among(indices, truth.junk_of(row))
    ranks = np.cumsum(~junk)
    for place, index in enumerate(indices):
        mark = "junk" if junk[place] else "right" if right[place] else "wrong"
        rank = None if junk[place] else int(ranks[place])
        yield Hit(int(index), rank, mark, float(ranking.scores[row, place]))


def among(rows: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """Which of `rows` stand in the rising list, as bools."""
    if not len(rising):
        return np.zeros(len(rows), bool)
    place = np.searchsorted(rising, rows).clip(max=len(rising) - 1)
    return rising[place] == rows


def first_answer(hits: list[Hit], relevant: np.ndarray) -> str:
    """ "right", "wrong", or "open" for a query that nothing answers."""
    if not len(relevant):
        return "open"
    return next((hit.mark for hit in hits if hit.mark != "junk"), "wrong")


def _missed_answers(hits: list[Hit], shown: list[Hit], relevant: np.ndarray) -> Hit | None:
    if all(hit.mark != "wrong" for hit in shown):
        return None
    below = next((hit for hit in hits[len(shown) :] if hit.mark == "right"), None)
    if below is not None:
        return below
    listed = {hit.row for hit in hits}
    absent = next((int(row) for row in relevant if int(row) not in listed), None)
    return None if absent is None else Hit(absent, None, "right", None)


def worst_first(values: np.ndarray, ranking: Ranking, firsts: list[str]) -> np.ndarray:
    """Query rows, the worst value first; those that were not counted (NaN) last.

    Of equals the wrong first answer of which the ranking is surest comes first, then the smaller
    id.
    """
    top = ranking.scores[:, 0] if ranking.scores.shape[1] else np.zeros(len(values), np.float32)
    surest = np.where(np.array(firsts) == "wrong", -top, np.inf)
    return np.lexsort((ranking.query_ids, surest, np.nan_to_num(values, nan=np.inf)))


def pick(order: np.ndarray, count: int, worst: float = 0.6) -> np.ndarray:
    """At most `count` of the ordered queries: the worst ones, then a spread of the rest, in the
    same order.
    """
    if len(order) <= count:
        return order
    head = round(count * worst)
    rest = np.linspace(head, len(order) - 1, count - head).round().astype(int)
    return order[np.concatenate([np.arange(head), rest])]
