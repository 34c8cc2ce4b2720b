"""Google Landmarks v2 (Weyand et al. 2020): solutions, predictions and submissions of both
contests.

Solutions and predictions mean what they mean to the contests' own reader: ignored queries are
passed over in silence, an unknown query may stand without an answer, a trailing space is nothing.
Beyond that every oddity is refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from ..errors import DataError
from ..io import csv_rows
from ..io.csv_rows import check_unique, parse_integer
from ..io.paths import PathLike
from ..structures import Ranking
from .answer_lists import Lists, check, check_queries

USAGES = ("Public", "Private", "Ignored")
ANSWERS = 100  # of a query count in the retrieval contest
Answer = TypeVar("Answer", int, str)  # landmarks are numbers, images have names


@dataclasses.dataclass(frozen=True, eq=False)
class Solution(Generic[Answer]):
    """What is right for every query.

    Args:
        ids: [Q] strings.
        usage: [Q] "Public", "Private" or "Ignored".
        right: for every query its landmarks (numbers) in the recognition contest, its images
            (names) in the retrieval contest; none where the query is ignored.
    """

    ids: np.ndarray
    usage: np.ndarray
    right: Sequence[Sequence[Answer]]

    def only(self, *usages: str) -> Solution[Answer]:
        """The queries of these usages."""
        rows = np.flatnonzero(np.isin(self.usage, usages)).tolist()
        return Solution(self.ids[rows], self.usage[rows], [self.right[row] for row in rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Recognition:
    """One landmark and its score for every query that is answered: `ids` [P] strings, `landmarks`
    [P] int64, `scores` [P] float64, larger is surer.
    """

    ids: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray


def read_recognition_solution(path: PathLike) -> Solution[int]:
    """Read recognition_solution_v2.1.csv: id,landmarks,Usage; a query without landmarks shows none.

    Raises:
        DataError: names file and line.
    """

    def landmarks(text: str, line: int, scored: bool) -> list[int]:
        if not scored:
            return []
        return [parse_integer(word, path, line, "landmark") for word in text.split()]

    return _solution(path, "landmarks", landmarks)


def read_retrieval_solution(path: PathLike) -> Solution[str]:
    """Read retrieval_solution_v2.1.csv: id,images,Usage; an ignored query has None for its images.

    Raises:
        DataError: names file and line.
    """

    def images(text: str, line: int, scored: bool) -> list[str]:
        if scored and (not text.strip() or text.strip() == "None"):
            raise DataError(
                f"{path}:{line}: a query that is scored must have an image, found {text!r}"
            )
        return text.split() if scored else []

    return _solution(path, "images", images)


def read_recognition(path: PathLike, solution: Solution[int] | None = None) -> Recognition:
    """Read a recognition submission: id,landmarks with "landmark score" or nothing in the second
    column.

    Args:
        path: the file.
        solution: whose ignored queries are passed over, and beside whose queries none may be
            answered.

    Raises:
        DataError: names file and line.
    """
    ids, landmarks, scores = [], [], []
    for line, query, words in _predictions(path, "landmarks", solution):
        if len(words) != 2:
            raise DataError(
                f"{path}:{line}: expected a landmark and its score, found {len(words)} words"
            )
        ids.append(query)
        landmarks.append(parse_integer(words[0], path, line, "landmark"))
        scores.append(_score(words[1], path, line))
    return Recognition(
        np.asarray(ids, str), np.asarray(landmarks, np.int64), np.asarray(scores, np.float64)
    )


def read_retrieval(path: PathLike, solution: Solution[str] | None = None) -> Lists:
    """Read a retrieval submission: id,images with image ids, best first, or nothing in the second
    column.

    More than 100 images and repeated ones are read as they stand; `lists.check` refuses them.

    Args:
        path: the file.
        solution: as for `read_recognition`.

    Raises:
        DataError: names file and line.
    """
    return Lists.of((query, words) for _, query, words in _predictions(path, "images", solution))


def write_recognition(path: PathLike, predictions: Recognition, test_ids: Sequence[str]) -> None:
    """Write a recognition submission, one row for every test image in the given order, whole or not
    at all.

    Raises:
        DataError: an image is answered twice or is not a test image, or a score is not finite;
            nothing is written.
    """
    for bad in np.flatnonzero(~np.isfinite(predictions.scores))[:1]:
        raise DataError(
            f"{path}: the score of query {str(predictions.ids[bad])!r} is {predictions.scores[bad]}"
        )
    _check_tests(predictions.ids, test_ids, f"{path}")
    pairs = zip(predictions.landmarks.tolist(), predictions.scores.tolist(), strict=True)
    _write(
        path,
        "landmarks",
        test_ids,
        predictions.ids,
        [f"{landmark} {score!r}" for landmark, score in pairs],
    )


def write_retrieval(
    path: PathLike,
    answers: Lists | Ranking,
    test_ids: Sequence[str],
    index_ids: Sequence[str] | None = None,
) -> None:
    """Write a retrieval submission, one row for every test image in the given order, whole or not
    at all.

    Args:
        path: the file.
        answers: lists of at most 100 images, or a ranking whose first 100 are taken.
        test_ids: the queries of test.csv; one that is not answered gets an empty row.
        index_ids: the images of index.csv, beside which none may be named.

    Raises:
        DataError: a query is unknown or stands twice, has more than 100 images, or an image stands
            twice or is unknown; nothing is written.
    """
    lists = Lists.from_ranking(answers, ANSWERS) if isinstance(answers, Ranking) else answers
    check(lists, f"{path}", most=ANSWERS, images=index_ids)
    _check_tests(lists.query_ids, test_ids, f"{path}")
    _write(path, "images", test_ids, lists.query_ids, lists.texts)


def _check_tests(answered: np.ndarray, test_ids: Sequence[str], what: str) -> None:
    check_queries(answered, what)
    check_queries(test_ids, f"{what}: test images")
    unknown = np.setdiff1d(answered, np.asarray(test_ids, str))
    if len(unknown):
        raise DataError(
            f"{what}: {len(unknown)} queries are not among the {len(test_ids)} test images, the"
            f" first is {str(unknown[0])!r}"
        )


def _write(
    path: PathLike, column: str, test_ids: Sequence[str], answered: np.ndarray, texts: Sequence[str]
) -> None:
    values = dict(zip(answered.tolist(), texts, strict=True))
    rows = ((name, values.get(str(name), "")) for name in test_ids)
    csv_rows.write(path, ("id", column), rows)


def _solution(
    path: PathLike, column: str, parse: Callable[[str, int, bool], list[Answer]]
) -> Solution[Answer]:
    ids, usages, right = [], [], []
    seen: dict[str, int] = {}
    for line, (query, text, usage) in csv_rows.read(path, ("id", column, "Usage")):
        check_unique(seen, query, path, line)
        if usage not in USAGES:
            raise DataError(f"{path}:{line}: Usage must be {', '.join(USAGES)}, found {usage!r}")
        ids.append(query)
        usages.append(usage)
        right.append(parse(text, line, usage != "Ignored"))
    return Solution(np.asarray(ids, str), np.asarray(usages, str), right)


def _predictions(
    path: PathLike, column: str, solution: Solution[int] | Solution[str] | None
) -> Iterator[tuple[int, str, list[str]]]:
    """Yield (line, query, words) of every query that is answered and scored."""
    usage: dict[str, str] | None = None
    if solution is not None:
        usage = dict(zip(solution.ids.tolist(), solution.usage.tolist(), strict=True))
    seen: dict[str, int] = {}
    for line, (query, text) in csv_rows.read(path, ("id", column), only=True):
        check_unique(seen, query, path, line)
        words = text.split(" ")
        if words[-1] == "":
            words.pop()
        if not words or usage is not None and usage.get(query) == "Ignored":
            continue
        if usage is not None and query not in usage:
            raise DataError(f"{path}:{line}: query {query!r} is not in the solution")
        if "" in words:
            raise DataError(f"{path}:{line}: words must be separated by one space")
        yield line, query, words


def _score(text: str, path: PathLike, line: int) -> float:
    try:
        score = float(text)
    except ValueError as error:
        raise DataError(f"{path}:{line}: score must be a number, found {text!r}") from error
    if not math.isfinite(score) or "_" in text:
        raise DataError(f"{path}:{line}: score must be a finite number, found {text!r}")
    return score
