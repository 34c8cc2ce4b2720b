"""Predictions as contests take them, lists of names and single labels without a Ranking, to what
metrics read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import DataError
from ..structures import Score
from ..structures.archive import Provenance
from ._relevance_ranks import Hits
from .gap import global_average_precision


def hits_of_lists(
    answers: Iterable[Sequence[str]], right: Iterable[Sequence[str]], protocol: Provenance
) -> Hits:
    """The places of right images in lists of any length, where an image may stand twice.

    A later copy of an image counts nothing but takes up its place. A list that ends early is
    complete: nothing would have been found below.

    Args:
        answers: for every query the names it was answered with, best first.
        right: for the same queries the names of the right images.
        protocol: what shall be told beside every score.
    """
    places: list[int] = []
    found, relevant, longest = [], [], 0
    for names, wanted in zip(answers, right, strict=True):
        before = len(places)
        if not (missing := set(wanted)).isdisjoint(names):
            for place, name in enumerate(names, 1):
                if name in missing:
                    # Found once: a later copy takes up its place and counts nothing.
                    missing.remove(name)
                    places.append(place)
        found.append(len(places) - before)
        relevant.append(len(wanted))
        longest = max(longest, len(names))
    asked = np.asarray(relevant, np.int64)
    told = {
        **protocol,
        "counted": int((asked > 0).sum()),
        "skipped": int((asked == 0).sum()),
        "ties": "as listed",
    }
    starts = np.concatenate([[0], np.cumsum(found)]).astype(np.int64)
    return Hits(starts, np.asarray(places, np.int64), asked, longest, longest, told)


def recognition_scores(
    ids: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    right: np.ndarray,
    answered: np.ndarray,
    answerable: np.ndarray,
    protocol: Provenance,
) -> list[Score]:
    """GAP, GAP without the queries that show nothing, and top-1 accuracy of single predictions
    (Weyand et al. 2020).

    Equal scores are ranked by query id, then by label.

    Args:
        ids, labels, scores: [P] query, predicted label and score of every prediction, at most one a
            query.
        right: [P] whether the label is one of the query's.
        answered: [P] the number of the prediction's query among all queries.
        answerable: [Q] whether a query has a right label at all.
        protocol: what shall be told beside every score.

    Raises:
        DataError: no query has a right label.
    """
    count = int(answerable.sum())
    if not count:
        raise DataError(
            f"none of the {len(answerable)} queries has a right answer, so nothing is defined"
        )
    told = {
        **protocol,
        "counted": count,
        "without_answer": len(answerable) - count,
        "predictions": len(ids),
        "ties": "by query id, then label",
    }
    asked = answerable[answered]
    made = []
    for name, kept in (("gap", np.ones(len(ids), bool)), ("gap(ignore_empty=True)", asked)):
        value = global_average_precision(scores[kept], right[kept], count, ids[kept], labels[kept])
        made.append(Score(name, value, None, told))
    first = np.where(answerable, 0.0, np.nan)
    first[answered[asked]] = right[asked]
    return [*made, Score("top1", float(np.nanmean(first)), first, told)]
