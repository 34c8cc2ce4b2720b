"""Submissions of contests to their scores: Google Landmarks recognition and retrieval, DIGIX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..formats import digix, gldv2
from ..formats.answer_lists import Lists, check
from ..formats.gldv2 import Recognition, Solution
from ..io.paths import PathLike
from ..knn.align import rows_of
from ..structures import Score
from ._predictions import hits_of_lists, recognition_scores
from .digix import Digix
from .map import Map
from .position import Position
from .precision import Precision
from .top1 import Top1

SPLITS = ("Public", "Private")
RETRIEVAL = (Map(gldv2.ANSWERS), Precision(1, 10, gldv2.ANSWERS), Position(gldv2.ANSWERS))


def score_recognition(predictions: Recognition, solution: Solution[int]) -> list[Score]:
    """GAP, GAP over the landmark queries alone, and top-1 accuracy; predictions for other queries
    are left out.

    Raises:
        DataError: the solution has no query, or none that shows a landmark.
    """
    rows = rows_of(predictions.ids, solution.ids)
    mine = np.flatnonzero(rows >= 0)
    labels = predictions.landmarks[mine]
    pairs = zip(rows[mine].tolist(), labels.tolist(), strict=True)
    right = np.fromiter((label in solution.right[row] for row, label in pairs), bool, len(mine))
    protocol = {
        "benchmark": "Google Landmarks v2 recognition",
        "relevant": "one of the query's landmarks",
    }
    return recognition_scores(
        predictions.ids[mine],
        labels,
        predictions.scores[mine],
        right,
        rows[mine],
        np.fromiter(map(bool, solution.right), bool, len(solution.ids)),
        protocol,
    )


def score_retrieval(predictions: Lists, solution: Solution[str]) -> list[Score]:
    """mAP@100, mean precisions and positions; predictions for other queries are left out, a missing
    one scores 0.

    Raises:
        DataError: the solution has no query.
    """
    lists = dict(zip(predictions.query_ids.tolist(), predictions.texts, strict=True))
    ids = solution.ids.tolist()
    protocol = {
        "benchmark": "Google Landmarks v2 retrieval",
        "relevant": "listed in the solution",
        "answered": sum(name in lists for name in ids),
        "duplicates": "take up their place",
    }
    hits = hits_of_lists((lists.get(name, "").split() for name in ids), solution.right, protocol)
    return [score for metric in RETRIEVAL for score in metric.score(hits)]


def score_digix(
    predictions: PathLike,
    asked: Mapping[str, int],
    known: Mapping[str, int],
    divisor: str = "relevant",
) -> list[Score]:
    """The contest's figure, top-1 and mAP@10 of a DIGIX submission, by the classes of queries and
    gallery.

    Raises:
        DataError: a file cannot be used, a query is missing or unknown, or an answer is unknown.
    """
    lists = digix.read_submission(predictions)
    check(lists, f"{predictions}", most=digix.ANSWERS, queries=list(asked), images=list(known))
    classes: dict[int, list[str]] = {}
    for name, label in known.items():
        classes.setdefault(label, []).append(name)
    hits = hits_of_lists(
        (names for _, names in lists),
        [classes.get(asked[query], []) for query, _ in lists],
        {"benchmark": "DIGIX 2020", "relevant": "same class"},
    )
    return [
        score
        for metric in (Digix(divisor=divisor), Top1(), Map(digix.ANSWERS))
        for score in metric.score(hits)
    ]
