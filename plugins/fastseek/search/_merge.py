"""Rankings of parts of a gallery to the ranking of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArtefactError, UsageError
from ..knn.align import rows_of
from ..knn.sort_keys import EMPTY, id_order, places_of, scores_of, sort_keys
from ..structures import Ranking
from ..structures.provenance import first_difference


def merge(rankings: Sequence[Ranking], k: int = 0) -> Ranking:
    """The ranking that a search over all the galleries together would have given.

    Exact searches merge exactly: indices, scores and ties (by id) are those of one search over
    everything.

    Args:
        rankings: of the same queries, in any order of rows, over galleries that share no image.
        k: how many images a query gets; 0 for as many as the longest member lists.

    Raises:
        UsageError: there is nothing to merge.
        ArtefactError: the queries or the way of searching differ, or a member is too short to merge
            k exactly.
        DataError: an image stands in two galleries; names it.
    """
    if not rankings:
        raise UsageError("there is no ranking to merge")
    first, depth = rankings[0], k or max(member.indices.shape[1] for member in rankings)
    aligned = [
        _align_queries(member, number, first, depth) for number, member in enumerate(rankings)
    ]
    ids = np.concatenate([member.gallery_ids for member in rankings])
    starts = np.cumsum([0] + [len(member.gallery_ids) for member in rankings])
    order, place = id_order(ids)
    keys = [
        _make_keys(member.indices[rows], member.scores[rows], place[start:])
        for member, rows, start in zip(rankings, aligned, starts, strict=False)
    ]
    best = np.sort(np.concatenate(keys, axis=1), axis=1)[:, :depth]
    indices = np.where(
        best == EMPTY, -1, order[np.minimum(places_of(best), max(0, len(order) - 1))]
    )
    return Ranking(first.query_ids, ids, indices, scores_of(best), _merge_provenances(rankings))


def _align_queries(member: Ranking, number: int, first: Ranking, depth: int) -> np.ndarray:
    """The rows of a member in the order of the first one's queries."""
    rows = rows_of(first.query_ids, member.query_ids)
    if len(member.query_ids) != len(first.query_ids) or (rows < 0).any():
        raise ArtefactError(
            f"ranking {number} is not over the queries of ranking 0: search all with the same"
            " queries"
        )
    searches = [ranking.provenance.get("search") for ranking in (first, member)]
    key = "search" if searches[0] != searches[1] else _find_difference(first, member)
    if key:
        raise ArtefactError(
            f"rankings 0 and {number} differ in {key}: search all parts in the same way"
        )
    if member.indices.shape[1] < min(depth, len(member.gallery_ids)):
        raise ArtefactError(
            f"ranking {number} lists {member.indices.shape[1]} images, {depth} are wanted: search"
            f" with k={depth} or more"
        )
    return rows


def _find_difference(one: Ranking, other: Ranking) -> str:
    return next(
        (
            key
            for side in ("queries", "gallery")
            if (
                key := first_difference(
                    one.provenance.get(side, {}), other.provenance.get(side, {})
                )
            )
        ),
        "",
    )


def _make_keys(indices: np.ndarray, scores: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.where(indices < 0, EMPTY, sort_keys(scores, place[np.maximum(indices, 0)]))


def _merge_provenances(rankings: Sequence[Ranking]) -> dict[str, object]:
    """What the members have in common; whatever they tell differently is a list."""
    provenance: dict[str, object] = {}
    for key in sorted(set().union(*(member.provenance for member in rankings))):
        told = [member.provenance.get(key) for member in rankings]
        provenance[key] = told[0] if all(value == told[0] for value in told) else told
    if "exact" in provenance:
        provenance["exact"] = all(member.provenance.get("exact") is True for member in rankings)
    return provenance | {"merged": len(rankings)}
