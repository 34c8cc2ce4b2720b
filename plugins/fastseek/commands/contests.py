"""Files of a contest to its scores."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from ..errors import ArtefactError
from ..files import PathLike
from ..metrics import evaluate
from ..metrics.digix import Digix
from ..metrics.figures import check_told, told
from ..metrics.map import Map
from ..metrics.position import Position
from ..metrics.precision import Precision
from ..metrics.predictions import hits_of_lists, recognition_scores
from ..metrics.top1 import Top1
from ..structures import Ranking, Score
from ..submit import digix, gldv2, revisited
from ..submit.gldv2 import Recognition, Solution
from ..submit.lists import Lists, check

SPLITS = ("Public", "Private")
RETRIEVAL = (Map(gldv2.ANSWERS), Precision(1, 10, gldv2.ANSWERS), Position(gldv2.ANSWERS))


def gldv2_file(
    task: str, predictions: PathLike, solution: PathLike, to: PathLike | None = None
) -> str:
    """Score a Google Landmarks submission: every figure over all scored queries, then over each
    part that is there.

    A part of whose queries none shows a landmark has no figures of recognition, as the contest
    defines them.

    Args:
        task: "recognition" or "retrieval".
        predictions, solution: the CSV files.
        to: also write one JSON object, metric name -> value, to this file; "-" returns that object.

    Raises:
        DataError: a file cannot be used; names file and line. UsageError: `to` cannot be written or
            is an input.
    """
    check_told(to, [predictions, solution])
    if task == "recognition":
        right = gldv2.read_recognition_solution(solution)
        answers, score = gldv2.read_recognition(predictions, right), recognition
    else:
        right = gldv2.read_retrieval_solution(solution)
        answers, score = gldv2.read_retrieval(predictions, right), retrieval
    scores = score(answers, right.only(*SPLITS))
    for split in SPLITS if len(set(right.usage) & set(SPLITS)) > 1 else ():
        part = right.only(split)
        if task == "retrieval" or any(part.right):
            scores += [_renamed(one, f"{split.lower()} {one.name}") for one in score(answers, part)]
    return told(scores, to)


def recognition(predictions: Recognition, solution: Solution) -> list[Score]:
    """GAP, GAP over the landmark queries alone, and top-1 accuracy; predictions for other queries
    are left out.

    Raises:
        DataError: the solution has no query, or none that shows a landmark.
    """
    rows = _rows(predictions.ids, solution.ids)
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


def retrieval(predictions: Lists, solution: Solution) -> list[Score]:
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
    return [score for metric in RETRIEVAL for score in metric.of(hits)]


def revisited_file(
    ranking: PathLike,
    gnd: PathLike,
    protocol: str,
    to: PathLike | None = None,
    crop: str = "not told",
    overlap: str = "not told",
) -> str:
    """Score a ranking of revisited Oxford or Paris.

    The ranking's ids are names of the benchmark, with or without folder and suffix, or numbers from
    0 in the order of the ground truth file. Gallery images beyond the benchmark's own are
    distractors.

    Args:
        ranking: an .npz ranking. gnd: the ground truth, .pkl or .json.
        protocol: "easy", "medium" or "hard".
        to: also write one JSON object, metric name -> value, to this file; "-" returns that object.
        crop: whether the query photos were cropped to their boxes.
        overlap: whether classes that overlap the benchmark were taken out of the training set
            (RGLDv2-clean).

    Returns:
        the table, with a line below it of what scores depend on and readers cannot see in them; or
        the JSON object.

    Raises:
        ArtefactError: the ranking is not of this benchmark. DataError: a file cannot be used.
        UsageError: `to` cannot be written or is an input.
    """
    check_told(to, [ranking, gnd])
    truth, loaded = revisited.read_gnd(gnd), Ranking.load(ranking)
    named, distractors = _benchmark(loaded, truth, ranking)
    right = revisited.truth(truth, protocol, distractors)
    scores = evaluate(named, right, ["revisited(1, 5, 10)"])
    told_too = {
        "benchmark": pathlib.Path(gnd).stem,
        "query_crop": crop,
        "overlap_removed": overlap,
        "views": _views(loaded),
        "ties": "as listed",
        "complete": bool(named.indices.shape[1] >= len(named.gallery_ids)),
    }
    cut = (
        ""
        if told_too["complete"]
        else (
            f"; lists of {named.indices.shape[1]} of {len(named.gallery_ids)} images, "
            "right ones below add nothing"
        )
    )
    text = told(
        [Score(one.name, one.value, one.per_query, {**one.protocol, **told_too}) for one in scores],
        to,
    )
    return (
        text
        if to == "-"
        else (
            f"{text}\n{told_too['benchmark']}, {protocol}; query photos cropped: {crop}; classes of"
            f" the benchmark removed from training: {overlap}; {len(distractors)} distractors;"
            f" views: {told_too['views']}{cut}"
        )
    )


def _views(ranking: Ranking) -> str:
    """The views of the query embeddings, as their passport tells them."""
    told = ranking.passport.get("queries")
    views = (
        told.get("views") if isinstance(told, Mapping) else None
    )  # of merged rankings a list, where they differ
    return "not told" if views is None else ", ".join(map(str, views)) or "one, the photo as it is"


def digix_file(
    predictions: PathLike,
    queries: PathLike,
    gallery: PathLike,
    to: PathLike | None = None,
    divisor: str = "relevant",
) -> str:
    """Score a DIGIX submission by label files of queries and gallery.

    Raises:
        DataError: a file cannot be used, a query is missing or unknown, or an answer is unknown.
        UsageError: `to` cannot be written or is an input.
    """
    check_told(to, [predictions, queries, gallery])
    return told(
        digix_scores(predictions, digix.read_labels(queries), digix.read_labels(gallery), divisor),
        to,
    )


def digix_scores(
    predictions: PathLike,
    asked: Mapping[str, int],
    known: Mapping[str, int],
    divisor: str = "relevant",
) -> list[Score]:
    """The contest's figure, top-1 and mAP@10 of a DIGIX submission, by the classes of queries and
    gallery.

    Raises:
        DataError: as for `digix_file`.
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
        for score in metric.of(hits)
    ]


def _renamed(score: Score, name: str) -> Score:
    return Score(name, score.value, score.per_query, score.protocol)


def _rows(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For every id its row among the known ones, -1 where it is not known."""
    rows = {name: row for row, name in enumerate(known.tolist())}
    return np.fromiter((rows.get(name, -1) for name in ids.tolist()), np.int64, len(ids))


def _benchmark(ranking: Ranking, truth: revisited.Gnd, path: PathLike) -> tuple[Ranking, list[str]]:
    """The ranking under the benchmark's names, and the names of its distractors."""
    queries, gallery = (
        _named(ids, names)
        for ids, names in ((ranking.query_ids, truth.queries), (ranking.gallery_ids, truth.images))
    )
    for found, names, what in (
        (queries, truth.queries, "queries"),
        (gallery, truth.images, "gallery images"),
    ):
        missing = sorted(set(names) - set(found))
        if missing:
            raise ArtefactError(
                f"{path} is not of this benchmark: {len(missing)} of its {len(names)} {what} are"
                f" not ranked, the first is {missing[0]!r}"
            )
    foreign = sorted(set(queries) - set(truth.queries))
    if foreign:
        raise ArtefactError(
            f"{path}: {len(foreign)} queries are not of this benchmark, the first is {foreign[0]!r}"
        )
    own = set(truth.images)
    distractors = [name for name in gallery if name not in own]
    return Ranking(queries, gallery, ranking.indices, ranking.scores, ranking.passport), distractors


def _named(ids: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Ids as the benchmark's names: row numbers are looked up, of paths the bare name is taken if
    it is known.
    """
    if ids.tolist() == [str(row) for row in range(len(ids))] and len(ids) >= len(names):
        return [*names, *ids.tolist()[len(names) :]]
    known = set(names)
    bare = [name.rsplit("/", 1)[-1].rsplit(".", 1)[0] for name in ids.tolist()]
    return [
        short if short in known and name not in known else name
        for name, short in zip(ids.tolist(), bare, strict=True)
    ]
