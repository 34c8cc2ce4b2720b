"""Answers to submissions, and submissions to scores, through the files a contest takes."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from ...errors import DataError
from ...formats import digix, gldv2
from ...formats.answer_lists import Lists
from ...formats.gldv2 import Recognition, Solution
from ...io.atomic import atomic
from ...io.paths import PathLike, locate
from ...metrics import _contest_scores as contest_scores
from ...metrics._gap_interval import gap_interval
from ...recognition.predict import Predictions
from ...structures import Item, Ranking, Score
from .ensemble import Answer

Intervals = dict[str, list[float]]


class Sheet(Protocol):
    """What a contest takes, and how it scores that."""

    def submit(self, path: PathLike, answer: Answer) -> None:
        """Write a submission.

        Args:
            path: its file.
            answer: to all queries.

        Raises:
            DataError: the contest would not take it.
        """

    def score(self, path: PathLike) -> tuple[list[Score], Intervals]:
        """Read a submission and score it.

        Returns:
            the scores, and intervals of those that are no means over queries.

        Raises:
            DataError: the contest would not take it.
        """


def number_labels(labels: Iterable[str]) -> dict[str, int]:
    """Every label's landmark number: itself where all are whole numbers, else its rank among
    them.
    """
    known = sorted(set(labels) - {""})
    if all(label.isascii() and label.isdigit() for label in known):
        return {label: int(label) for label in known}
    return {label: number for number, label in enumerate(known)}


def strip_name(name: str) -> str:
    """An image's name in a contest: its path without folders and suffix."""
    return pathlib.PurePosixPath(name).stem if "/" in name or "." in name else name


def _names(ids: Iterable[str], official: bool) -> list[str]:
    """The ids as the contest's own file names images, or as they are."""
    return [strip_name(name) for name in ids] if official else list(ids)


def _check_ranking(answer: Answer) -> Ranking:
    if not isinstance(answer, Ranking):
        raise TypeError(f"this contest takes a Ranking, got {type(answer).__name__}")
    return answer


@dataclasses.dataclass(frozen=True, eq=False)
class RetrievalSheet:
    """The sheet of Google Landmark Retrieval.

    Args:
        queries, gallery: the ids of the images.
        solution: what is right, read from its file.
        official: whether that is the contest's file, which knows images by names without folders.
    """

    queries: Sequence[str]
    gallery: Sequence[str]
    solution: Solution[str]
    official: bool

    @classmethod
    def open(
        cls, queries: Sequence[Item], gallery: Sequence[Item], solution: str, home: pathlib.Path
    ) -> RetrievalSheet:
        """With the contest's solution, or with one made of the labels, home/solution.csv.

        Raises:
            DataError: a file cannot be used, or no query has an answer.
        """
        file = home / "solution.csv"
        if solution:
            file = locate(solution, "the solution")
        else:
            _write_retrieval_solution(file, queries, gallery)
        right = gldv2.read_retrieval_solution(file)
        official = bool(solution)
        return cls(
            _names([item.id for item in queries], official),
            _names([item.id for item in gallery], official),
            right,
            official,
        )

    def scored_queries(self, queries: Sequence[Item]) -> Sequence[Item]:
        """The queries that count; the contest's own file ignores most, and those need not be
        searched for.

        Raises:
            DataError: the solution scores none of them.
        """
        if not self.official:
            return queries
        wanted = set(self.solution.only(*contest_scores.SPLITS).ids.tolist())
        scored = [item for item in queries if strip_name(item.id) in wanted]
        if not scored:
            raise DataError(
                f"none of {len(queries)} queries is scored by the solution: are these its test"
                " images?"
            )
        return scored

    def submit(self, path: PathLike, answer: Answer) -> None:
        """As `Sheet.submit`."""
        ranking = _check_ranking(answer)
        named = dataclasses.replace(
            ranking,
            query_ids=np.asarray(_names(ranking.query_ids.tolist(), self.official), str),
            gallery_ids=np.asarray(_names(ranking.gallery_ids.tolist(), self.official), str),
        )
        gldv2.write_retrieval(path, named, self.queries, self.gallery)

    def score(self, path: PathLike) -> tuple[list[Score], Intervals]:
        """As `Sheet.score`; every score here is a mean over queries."""
        found = gldv2.read_retrieval(path, self.solution)
        scores = contest_scores.score_retrieval(found, self.solution.only(*contest_scores.SPLITS))
        return [score for score in scores if not score.name.startswith("position")], {}


def _write_retrieval_solution(
    file: pathlib.Path, queries: Sequence[Item], gallery: Sequence[Item]
) -> None:
    """Images of one label answer each other; a query whose label no image has is ignored."""
    classes: dict[str, list[str]] = {}
    for item in gallery:
        if item.label:
            classes.setdefault(item.label, []).append(item.id)
    rows = []
    for item in queries:
        right = " ".join(name for name in classes.get(item.label, []) if name != item.id)
        rows.append(f"{item.id},{right or None},{'Public' if right else 'Ignored'}")
    _write(file, "id,images,Usage", rows)


@dataclasses.dataclass(frozen=True, eq=False)
class RecognitionSheet:
    """The sheet of Google Landmark Recognition.

    Args:
        queries: the ids of the images.
        numbers: label -> landmark number.
        solution, official: as of `RetrievalSheet`.
    """

    queries: Sequence[str]
    numbers: Mapping[str, int]
    solution: Solution[int]
    official: bool

    @classmethod
    def open(
        cls, queries: Sequence[Item], reference: Sequence[Item], solution: str, home: pathlib.Path
    ) -> RecognitionSheet:
        """With the contest's solution, or with one made of the labels, home/solution.csv; "" is no
        landmark.

        Raises:
            DataError: a file cannot be used, or the contest's solution is to be read and labels are
                no numbers.
        """
        numbers = number_labels(item.label for item in (*queries, *reference))
        file = home / "solution.csv"
        if solution:
            _check_landmark_ids(solution, numbers)
            file = locate(solution, "the solution")
        else:
            landmarks = (f"{number},{label}" for label, number in numbers.items())
            _write(home / "landmarks.csv", "landmark_id,label", landmarks)
            rows = (f"{item.id},{numbers.get(item.label, '')},Public" for item in queries)
            _write(file, "id,landmarks,Usage", rows)
        right = gldv2.read_recognition_solution(file)
        official = bool(solution)
        return cls(_names([item.id for item in queries], official), numbers, right, official)

    def submit(self, path: PathLike, answer: Answer) -> None:
        """As `Sheet.submit`."""
        if not isinstance(answer, Predictions):
            raise TypeError(f"this contest takes Predictions, got {type(answer).__name__}")
        ids = np.asarray(_names(answer.ids.tolist(), self.official), str)
        landmarks = np.asarray([self.numbers[label] for label in answer.labels.tolist()], np.int64)
        gldv2.write_recognition(path, Recognition(ids, landmarks, answer.scores), self.queries)

    def score(self, path: PathLike) -> tuple[list[Score], Intervals]:
        """As `Sheet.score`; GAP is no mean and has its own bootstrap interval."""
        found = gldv2.read_recognition(path, self.solution)
        scored = self.solution.only(*contest_scores.SPLITS)
        return contest_scores.score_recognition(found, scored), _gap_intervals(found, scored)


def _check_landmark_ids(solution: str, numbers: Mapping[str, int]) -> None:
    if any(str(number) != label for label, number in numbers.items()):
        raise DataError(
            f"{solution} names landmarks by number, but the reference's labels are names, such"
            f" as {next(iter(numbers))!r}: name a data set whose labels are landmark ids"
        )


def _gap_intervals(found: Recognition, solution: Solution[int]) -> Intervals:
    """The interval of GAP over all queries, and over those that show a landmark."""
    rows = {name: row for row, name in enumerate(solution.ids.tolist())}
    answered = np.asarray([rows.get(name, -1) for name in found.ids.tolist()], np.int64)
    pairs = zip(answered.tolist(), found.landmarks.tolist(), strict=True)
    right = np.asarray([row >= 0 and mark in solution.right[row] for row, mark in pairs], bool)
    answerable = np.fromiter(map(bool, solution.right), bool, len(solution.ids))
    counted = {
        "gap": answered >= 0,
        "gap(ignore_empty=True)": (answered >= 0) & answerable[answered],
    }
    return {
        name: list(
            gap_interval(
                found.scores[rows],
                right[rows],
                answered[rows],
                answerable,
                found.ids[rows],
                found.landmarks[rows],
            )
        )
        for name, rows in counted.items()
    }


@dataclasses.dataclass(frozen=True, eq=False)
class DigixSheet:
    """The sheet of Huawei DIGIX 2020: ten images a query.

    Args:
        queries, gallery: image -> class.
    """

    queries: Mapping[str, int]
    gallery: Mapping[str, int]

    @classmethod
    def open(
        cls, queries: Sequence[Item], gallery: Sequence[Item], solution: str, home: pathlib.Path
    ) -> DigixSheet:
        """By the labels of the images; the classes of the queries may stand in a label file,
        `solution`.

        Raises:
            DataError: the file cannot be used.
        """
        numbers = number_labels(item.label for item in (*queries, *gallery))
        # Different numbers for an unknown label: no query shall be answered by an unlabelled image.
        asked = {item.id: numbers.get(item.label, -1) for item in queries}
        known = {item.id: numbers.get(item.label, -2) for item in gallery}
        if solution:
            asked = digix.read_labels(locate(solution, "the labels of the queries"))
        digix.write_labels(home / "queries.txt", asked)
        digix.write_labels(home / "gallery.txt", known)
        return cls(asked, known)

    def submit(self, path: PathLike, answer: Answer) -> None:
        """As `Sheet.submit`."""
        ranking, gallery = _check_ranking(answer), list(self.gallery)
        lists = Lists.from_ranking(ranking, digix.ANSWERS)
        least = min(digix.ANSWERS, len(gallery))
        # The contest takes ten answers a query, also where the query cannot be read.
        filled = ((query, _fill(names, gallery, least)) for query, names in lists)
        digix.write_submission(path, Lists.of(filled), list(self.queries), gallery)

    def score(self, path: PathLike) -> tuple[list[Score], Intervals]:
        """As `Sheet.score`; every score here is a mean over queries."""
        return contest_scores.score_digix(path, self.queries, self.gallery), {}


def _fill(names: list[str], gallery: Sequence[str], least: int) -> list[str]:
    """At least so many answers: any images of the gallery follow those that were found."""
    if len(names) >= least:
        return names
    others = itertools.islice((name for name in gallery if name not in names), least - len(names))
    return [*names, *others]


def _write(path: pathlib.Path, header: str, rows: Iterable[str]) -> None:
    with atomic(path, "w") as file:
        file.write(f"{header}\n")
        file.writelines(f"{row}\n" for row in rows)
