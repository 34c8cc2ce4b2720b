"""Predictions as contests take them, lists of names and single labels without a Ranking, to what metrics read."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..structures import Score
from ..structures.archive import Passport
from .gap import global_average_precision
from .hits import Hits


def hits_of_lists(starts: np.ndarray, items: np.ndarray, right_starts: np.ndarray, right: np.ndarray,
                  protocol: Passport) -> Hits:
    """The places of right images in lists of any length, where an image may stand twice.

    A later copy of an image counts nothing but takes up its place. A list that ends early is complete: nothing would
    have been found below.

    Args:
        starts, items: images answered to query q are items[starts[q]:starts[q + 1]], best first; whole numbers from 0,
            -1 for one that is right nowhere.
        right_starts, right: right images of the same queries, likewise.
        protocol: what shall be told beside every score.
    """
    queries, width = len(starts) - 1, int(max(items.max(initial=0), right.max(initial=0))) + 1
    known = np.flatnonzero(items >= 0)
    owner = np.searchsorted(starts, known, side="right") - 1
    keys = owner * width + items[known]
    wanted = np.unique(np.repeat(np.arange(queries), np.diff(right_starts)) * width + right)
    at = np.minimum(np.searchsorted(wanted, keys), max(len(wanted) - 1, 0))
    hit = wanted[at] == keys if len(wanted) else np.zeros(len(keys), bool)
    _, first = np.unique(keys[hit], return_index=True)
    first.sort()
    owner, places = owner[hit][first], (known[hit][first] - starts[owner[hit][first]] + 1)
    found = np.bincount(owner, minlength=queries)
    relevant = np.diff(right_starts)
    told = {**protocol, "counted": int((relevant > 0).sum()), "skipped": int((relevant == 0).sum()),
            "ties": "as listed"}
    return Hits(np.concatenate([[0], np.cumsum(found)]), places, relevant, width, width, told)


def recognition_scores(ids: np.ndarray, labels: np.ndarray, scores: np.ndarray, right: np.ndarray,
                       answered: np.ndarray, answerable: np.ndarray, protocol: Passport) -> list[Score]:
    """GAP, GAP without the queries that show nothing, and top-1 accuracy of single predictions (Weyand et al. 2020).

    Equal scores are ranked by query id, then by label.

    Args:
        ids, labels, scores: [P] query, predicted label and score of every prediction, at most one a query.
        right: [P] whether the label is one of the query's.
        answered: [P] the number of the prediction's query among all queries.
        answerable: [Q] whether a query has a right label at all.
        protocol: what shall be told beside every score.

    Raises:
        DataError: no query has a right label.
    """
    count = int(answerable.sum())
    if not count:
        raise DataError(f"none of the {len(answerable)} queries has a right answer, so nothing is defined")
    told = {**protocol, "counted": count, "without_answer": len(answerable) - count, "predictions": len(ids),
            "ties": "by query id, then label"}
    asked = answerable[answered]
    made = []
    for name, kept in (("gap", np.ones(len(ids), bool)), ("gap(ignore_empty=True)", asked)):
        value = global_average_precision(scores[kept], right[kept], count, ids[kept], labels[kept])
        made.append(Score(name, value, None, told))
    first = np.where(answerable, 0.0, np.nan)
    first[answered[asked]] = right[asked]
    return [*made, Score("top1", float(np.nanmean(first)), first, told)]
