"""Files of a contest to its scores."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from ..errors import ArtefactError
from ..formats import digix, gldv2, revisited
from ..formats.gldv2 import Solution
from ..io.paths import PathLike
from ..metrics import evaluate
from ..metrics._contest_scores import SPLITS, score_digix, score_recognition, score_retrieval
from ..structures import Ranking, Score
from ..structures.listed_ids import Ids
from ._rankings import load_ranking
from ._score import check_told, describe_score

Answer = TypeVar("Answer", int, str)  # a landmark, or the name of an image


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
        named = gldv2.read_recognition_solution(solution)
        answers = gldv2.read_recognition(predictions, named)
        scores = _score_parts(named, lambda part: score_recognition(answers, part), any)
    else:
        right = gldv2.read_retrieval_solution(solution)
        lists = gldv2.read_retrieval(predictions, right)
        scores = _score_parts(right, lambda part: score_retrieval(lists, part), lambda _: True)
    return describe_score(scores, to)


def _score_parts(
    solution: Solution[Answer],
    score: Callable[[Solution[Answer]], list[Score]],
    can_score: Callable[[Sequence[object]], bool],
) -> list[Score]:
    """Scores over all scored queries, then, where both parts are there, over each of them."""
    scores = score(solution.only(*SPLITS))
    for split in SPLITS if len(set(solution.usage) & set(SPLITS)) > 1 else ():
        part = solution.only(split)
        if can_score(part.right):
            scores += [_rename(one, f"{split.lower()} {one.name}") for one in score(part)]
    return scores


def revisited_file(
    ranking: PathLike,
    gnd: PathLike,
    protocol: str,
    to: PathLike | None = None,
    crop: str = "not told",
    overlap: str = "not told",
    gallery: PathLike | None = None,
) -> str:
    """Score a ranking of revisited Oxford or Paris.

    The ranking's ids are names of the benchmark, with or without folder and suffix, or numbers from
    0 in the order of the ground truth file. Gallery images beyond the benchmark's own are
    distractors.

    Args:
        ranking: an .npz ranking. gnd: the ground truth, .pkl or .json.
        protocol: "easy", "medium" or "hard".
        to: also write one JSON object, metric name -> value, to this file; "-" returns that object.
        crop: whether the query images were cropped to their boxes.
        overlap: whether classes that overlap the benchmark were taken out of the training set
            (RGLDv2-clean).
        gallery: the embeddings that were searched, see `load_ranking`.

    Returns:
        the table, with a line below it of what scores depend on and readers cannot see in them; or
        the JSON object.

    Raises:
        ArtefactError: the ranking is not of this benchmark. DataError: a file cannot be used.
        UsageError: `to` cannot be written or is an input.
    """
    check_told(to, [ranking, gnd, gallery])
    truth, loaded = revisited.read_gnd(gnd), load_ranking(ranking, gallery)
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
    text = describe_score(
        [Score(one.name, one.value, one.per_query, {**one.protocol, **told_too}) for one in scores],
        to,
    )
    return (
        text
        if to == "-"
        else (
            f"{text}\n{told_too['benchmark']}, {protocol}; query images cropped: {crop}; classes of"
            f" the benchmark removed from training: {overlap}; {len(distractors)} distractors;"
            f" views: {told_too['views']}{cut}"
        )
    )


def _views(ranking: Ranking) -> str:
    """The views of the query embeddings, as their provenance tells them."""
    told = ranking.provenance.get("queries")
    views = (
        told.get("views") if isinstance(told, Mapping) else None
    )  # of merged rankings a list, where they differ
    return "not told" if views is None else ", ".join(map(str, views)) or "one, the image as it is"


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
    return describe_score(
        score_digix(predictions, digix.read_labels(queries), digix.read_labels(gallery), divisor),
        to,
    )


def _rename(score: Score, name: str) -> Score:
    return Score(name, score.value, score.per_query, score.protocol)


def _benchmark(ranking: Ranking, truth: revisited.Gnd, path: PathLike) -> tuple[Ranking, list[str]]:
    """The ranking under the benchmark's names, and the names of its distractors."""
    queries, gallery = (
        _name_rows(ids, names)
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
    named = dataclasses.replace(
        ranking, query_ids=np.array(queries, str), gallery_ids=np.array(gallery, str)
    )
    return named, distractors


def _name_rows(ids: Ids, names: tuple[str, ...]) -> list[str]:
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
