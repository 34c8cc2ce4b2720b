"""Answers to submissions, and submissions to scores, through the files a contest takes."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import DataError
from ...formats import digix, gldv2
from ...formats.gldv2 import Recognition, Solution
from ...io.atomic import atomic
from ...io.paths import PathLike, locate
from ...metrics import _contest_scores as contest_scores
from ...metrics._gap_interval import gap_interval
from ...recognition.predict import Predictions
from ...structures import Item, Ranking, Score

logger = logging.getLogger("fastreid.fastseek")
Spans = dict[str, list[float]]


def numbers_of(labels: Sequence[str]) -> dict[str, int]:
    """Every label's landmark number: itself where all are whole numbers, else its place in their
    order.
    """
    known = sorted(set(labels) - {""})
    if all(label.isascii() and label.isdigit() for label in known):
        return {label: int(label) for label in known}
    return {label: number for number, label in enumerate(known)}


def bare(name: str) -> str:
    """A photo's name in a contest: its path without folders and suffix."""
    return pathlib.PurePosixPath(name).stem if "/" in name or "." in name else name


@dataclasses.dataclass(frozen=True, eq=False)
class Retrieval:
    """The sheet of Google Landmark Retrieval.

    Args:
        queries, gallery: the ids of the photos.
        solution: what is right, read from its file.
        official: whether that is the contest's file, which knows photos by bare names.
    """

    queries: Sequence[str]
    gallery: Sequence[str]
    solution: Solution
    official: bool

    @classmethod
    def open(
        cls, queries: Sequence[Item], gallery: Sequence[Item], solution: str, home: pathlib.Path
    ) -> Retrieval:
        """With the contest's solution, or with one made of the labels, home/solution.csv.

        Raises:
            DataError: a file cannot be used, or no query has an answer.
        """
        if not solution:
            classes: dict[str, list[str]] = {}
            for item in gallery:
                if item.label:
                    classes.setdefault(item.label, []).append(item.id)
            rows = [
                (item.id, " ".join(name for name in classes.get(item.label, []) if name != item.id))
                for item in queries
            ]
            _write(
                home / "solution.csv",
                "id,images,Usage",
                (
                    f"{name},{right or None},{'Public' if right else 'Ignored'}"
                    for name, right in rows
                ),
            )
        right = gldv2.read_retrieval_solution(
            locate(solution, "the solution") if solution else home / "solution.csv"
        )
        rename = bare if solution else str
        return cls(
            [rename(item.id) for item in queries],
            [rename(item.id) for item in gallery],
            right,
            bool(solution),
        )

    def scored(self, queries: Sequence[Item]) -> Sequence[Item]:
        """The queries that count; the contest's own file ignores most, and those need not be
        searched for.

        Raises:
            DataError: the solution scores none of them.
        """
        if not self.official:
            return queries
        wanted = set(self.solution.only(*contest_scores.SPLITS).ids.tolist())
        kept = [item for item in queries if bare(item.id) in wanted]
        if not kept:
            raise DataError(
                f"none of {len(queries)} queries is scored by the solution: are these its test"
                " images?"
            )
        return kept

    def submit(self, path: PathLike, answer: Ranking) -> tuple[list[Score], Spans]:
        """Write a submission, read it back and score it.

        Raises:
            DataError: the contest would not take it.
        """
        rename = bare if self.official else str
        named = Ranking(
            [rename(name) for name in answer.query_ids.tolist()],
            [rename(name) for name in answer.gallery_ids.tolist()],
            answer.indices,
            answer.scores,
            answer.provenance,
        )
        gldv2.write_retrieval(path, named, self.queries, self.gallery)
        found = gldv2.read_retrieval(path, self.solution)
        scores = contest_scores.score_retrieval(found, self.solution.only(*contest_scores.SPLITS))
        return [score for score in scores if not score.name.startswith("position")], {}


@dataclasses.dataclass(frozen=True, eq=False)
class Recognised:
    """The sheet of Google Landmark Recognition.

    Args:
        queries: the ids of the photos.
        numbers: label -> landmark number.
        solution, official: as of `Retrieval`.
    """

    queries: Sequence[str]
    numbers: Mapping[str, int]
    solution: Solution
    official: bool

    @classmethod
    def open(
        cls, queries: Sequence[Item], reference: Sequence[Item], solution: str, home: pathlib.Path
    ) -> Recognised:
        """With the contest's solution, or with one made of the labels, home/solution.csv; "" is no
        landmark.

        Raises:
            DataError: a file cannot be used, or the contest's solution is to be read and labels are
                no numbers.
        """
        numbers = numbers_of([item.label for item in (*queries, *reference)])
        if solution and any(str(number) != label for label, number in numbers.items()):
            raise DataError(
                f"{solution} tells landmarks by number, but the reference's labels are names, such"
                f" as {next(iter(numbers))!r}: name a data set whose labels are landmark ids"
            )
        if not solution:
            _write(
                home / "solution.csv",
                "id,landmarks,Usage",
                (f"{item.id},{numbers.get(item.label, '')},Public" for item in queries),
            )
            _write(
                home / "landmarks.csv",
                "landmark_id,label",
                (f"{number},{label}" for label, number in numbers.items()),
            )
        right = gldv2.read_recognition_solution(
            locate(solution, "the solution") if solution else home / "solution.csv"
        )
        rename = bare if solution else str
        return cls([rename(item.id) for item in queries], numbers, right, bool(solution))

    def submit(self, path: PathLike, answer: Predictions) -> tuple[list[Score], Spans]:
        """Write a submission, read it back and score it; GAP has its own bootstrap interval.

        Raises:
            DataError: the contest would not take it.
        """
        rename = bare if self.official else str
        ids = np.asarray([rename(name) for name in answer.ids.tolist()], str)
        landmarks = np.asarray([self.numbers[label] for label in answer.labels.tolist()], np.int64)
        gldv2.write_recognition(path, Recognition(ids, landmarks, answer.scores), self.queries)
        found, scored = (
            gldv2.read_recognition(path, self.solution),
            self.solution.only(*contest_scores.SPLITS),
        )
        return contest_scores.score_recognition(found, scored), _gap_spans(found, scored)


def _gap_spans(found: Recognition, solution: Solution) -> Spans:
    rows = {name: row for row, name in enumerate(solution.ids.tolist())}
    answered = np.asarray([rows.get(name, -1) for name in found.ids.tolist()], np.int64)
    right = np.asarray(
        [
            row >= 0 and landmark in solution.right[row]
            for row, landmark in zip(answered.tolist(), found.landmarks.tolist(), strict=True)
        ],
        bool,
    )
    answerable = np.fromiter(map(bool, solution.right), bool, len(solution.ids))
    spans: Spans = {}
    for name, kept in (
        ("gap", answered >= 0),
        ("gap(ignore_empty=True)", (answered >= 0) & answerable[answered]),
    ):
        spans[name] = list(
            gap_interval(
                found.scores[kept],
                right[kept],
                answered[kept],
                answerable,
                found.ids[kept],
                found.landmarks[kept],
            )
        )
    return spans


@dataclasses.dataclass(frozen=True, eq=False)
class DigixSheet:
    """The sheet of Huawei DIGIX 2020: ten images a query.

    Args:
        asked, known: query and gallery photo -> class.
    """

    asked: Mapping[str, int]
    known: Mapping[str, int]

    @classmethod
    def open(
        cls, queries: Sequence[Item], gallery: Sequence[Item], solution: str, home: pathlib.Path
    ) -> DigixSheet:
        """By the labels of the photos; the classes of the queries may stand in a label file,
        `solution`.

        Raises:
            DataError: the file cannot be used.
        """
        numbers = numbers_of([item.label for item in (*queries, *gallery)])
        asked = (
            digix.read_labels(locate(solution, "the labels of the queries"))
            if solution
            else {item.id: numbers.get(item.label, -1) for item in queries}
        )
        known = {item.id: numbers.get(item.label, -2) for item in gallery}
        digix.write_labels(home / "queries.txt", asked)
        digix.write_labels(home / "gallery.txt", known)
        return cls(asked, known)

    def submit(self, path: PathLike, answer: Ranking) -> tuple[list[Score], Spans]:
        """Write a submission, read it back and score it.

        Raises:
            DataError: the contest would not take it.
        """
        digix.write_submission(path, answer, list(self.asked), list(self.known))
        return contest_scores.score_digix(path, self.asked, self.known), {}


def _write(path: pathlib.Path, header: str, rows: Sequence[str]) -> None:
    with atomic(path, "w") as file:
        file.write(f"{header}\n")
        file.writelines(f"{row}\n" for row in rows)
