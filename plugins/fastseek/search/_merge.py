"""Rankings of parts of a gallery to the ranking of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArtefactError, UsageError
from ..knn.align import rows_of
from ..knn.sort_keys import EMPTY, listed_order, places_of, scores_of, sort_keys
from ..structures import Ranking
from ..structures.listed_ids import Ids, ListedIds
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
    ids = _chain_ids([member.gallery_ids for member in rankings])
    starts = np.cumsum([0] + [len(member.gallery_ids) for member in rankings])
    listed = np.concatenate(
        [
            np.where(member.indices[rows] < 0, -1, member.indices[rows] + start)
            for member, rows, start in zip(rankings, aligned, starts, strict=False)
        ],
        axis=1,
    )
    scores = np.concatenate(
        [member.scores[rows] for member, rows in zip(rankings, aligned, strict=True)], axis=1
    )
    order, places = listed_order(ids, listed)
    keys = np.where(listed < 0, EMPTY, sort_keys(scores, places))
    best = np.sort(keys, axis=1)[:, :depth]
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


def _chain_ids(parts: Sequence[Ids]) -> Ids:
    """The ids of galleries one below the other; only those that are listed where one ranking tells no
    more.
    """
    listed = [part for part in parts if isinstance(part, ListedIds)]
    if not listed:
        return np.concatenate([np.asarray(part) for part in parts])
    if len(listed) < len(parts):
        raise ArtefactError(
            "some of the rankings tell all ids of their galleries and others only those they list:"
            " merge such as are alike"
        )
    return ListedIds.chain(listed)


def _merge_provenances(rankings: Sequence[Ranking]) -> dict[str, object]:
    """What the members have in common; whatever they tell differently is a list."""
    provenance: dict[str, object] = {}
    for key in sorted(set().union(*(member.provenance for member in rankings))):
        told = [member.provenance.get(key) for member in rankings]
        provenance[key] = told[0] if all(value == told[0] for value in told) else told
    if "exact" in provenance:
        provenance["exact"] = all(member.provenance.get("exact") is True for member in rankings)
    return provenance | {"merged": len(rankings)}
