"""The answers of a ranking as rows, and as tables for people and other programs."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..io import csv_rows
from ..io.atomic import atomic
from ..io.file_kinds import PAGE
from ..io.paths import PathLike
from .arrays import FloatArray, IntArray, StringArray
from .listed_ids import Ids

# What a ranking is written as, by the end of the name.
TABLES = (".csv", ".csv.gz", ".json", ".jsonl")
FORMS = (".npz", *TABLES, PAGE)
COLUMNS = ("query", "rank", "id", "path", "score")
Cell = str | int | float


def find_form(path: PathLike, forms: Sequence[str] = FORMS) -> str:
    """Which form the name of an output says; ".npz" where it says none and that is one of them.

    Args:
        path: the output.
        forms: those that can be written, of FORMS.

    Raises:
        UsageError: it says another, or is no name.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(
            f"expected the name of a file that ends in {' or '.join(forms)}, got {path!r}"
        )
    form = next((one for one in forms if os.fspath(path).endswith(one)), "")
    if not form and ".npz" in forms and not os.path.splitext(path)[1]:
        return ".npz"
    if not form:
        most, last = ", ".join(forms[:-1]), forms[-1]
        known = f"{most} or {last}" if most else last
        raise UsageError(f"{path}: a ranking is written as {known}: name one")
    return form


class Answer(NamedTuple):
    """One image that was found for one query.

    Args:
        query: the query's id.
        rank: its place in the list, from 1.
        id: the id of the image that was found.
        score: larger is better.
    """

    query: str
    rank: int
    id: str
    score: float


def iterate_answers(
    query_ids: StringArray, gallery_ids: Ids, indices: IntArray, scores: FloatArray
) -> Iterator[Answer]:
    """Yield every answer, query by query, best first; the arguments are those of a `Ranking`."""
    for query, rows, values in zip(query_ids.tolist(), indices, scores, strict=True):
        names = gallery_ids[rows[rows >= 0]].tolist()  # a short list is filled up at its end
        for rank, (name, score) in enumerate(zip(names, values.tolist(), strict=False), 1):
            yield Answer(query, rank, name, score)


class AnswerTable:
    """Answers with what a table tells beside them: the columns query, rank, id, path, score, and
    label where labels are given.

    Args:
        answers: the rows, read once.
        root: the folder that the ids are paths below, "" where it is not known. A path is told
            where such a file exists, and is "" otherwise.
        labels: id -> label; an image without one gets "".
        more: further columns by name, each id -> value.
        paths: id -> path, where that is known otherwise than by the root.
    """

    def __init__(
        self,
        answers: Iterable[Answer],
        root: str = "",
        labels: Mapping[str, str] | None = None,
        more: Mapping[str, Mapping[str, Cell | None]] | None = None,
        paths: Mapping[str, str | None] | None = None,
    ) -> None:
        self._answers = answers
        find = functools.lru_cache(maxsize=1 << 20)(functools.partial(find_file, root))
        self._find = find if paths is None else lambda name: paths.get(name) or find(name)
        label = {} if labels is None else {"label": labels}
        self._more: dict[str, Mapping[str, Cell | None]] = {**label, **(more or {})}
        self.columns = (*COLUMNS, *self._more)

    def write(self, path: PathLike) -> None:
        """Write the table that the name says: one of TABLES.

        Raises:
            UsageError: it says none.
        """
        form = find_form(path, TABLES)
        if form in (".json", ".jsonl"):
            self.to_json(path, lines=form == ".jsonl")
        else:
            self.to_csv(path)

    def to_csv(self, path: PathLike) -> None:
        """Write a CSV file, whole or not at all; a name that a spreadsheet would take for a formula
        gets an apostrophe.
        """
        csv_rows.write(path, self.columns, map(csv_rows.guard_row, self._rows()))

    def to_json(self, path: PathLike, lines: bool = False) -> None:
        """Write a JSON list of objects, or with `lines` an object a line; whole or not at all."""
        with atomic(path, "w") as file:
            file.writelines(self._json_lines() if lines else self._json_list())

    def _rows(self) -> Iterator[tuple[Cell, ...]]:
        """The cells of every answer, the float32 score in as few digits as tell it from others."""
        for answer in self._answers:
            score = float(str(np.float32(answer.score)))
            more = (self._cell(column.get(answer.id)) for column in self._more.values())
            yield answer.query, answer.rank, answer.id, self._find(answer.id), score, *more

    @staticmethod
    def _cell(value: Cell | None) -> Cell:
        return "" if value is None else value

    def _json_lines(self) -> Iterator[str]:
        for row in self._rows():
            yield json.dumps(dict(zip(self.columns, row, strict=True))) + "\n"

    def _json_list(self) -> Iterator[str]:
        between = "[\n"
        for line in self._json_lines():
            yield between + line.rstrip("\n")
            between = ",\n"
        yield "[]\n" if between == "[\n" else "\n]\n"


def find_file(root: str, name: str) -> str:
    """The file of an id below its root, "" where there is none.

    A root that is no full path depends on the working folder, and an id may come from a stranger:
    one that leads out of the root names no file.
    """
    if not os.path.isabs(root):
        return ""
    path = os.path.normpath(os.path.join(root, name))
    inside = path.startswith(os.path.join(os.path.normpath(root), ""))
    return path if inside and "\0" not in path and os.path.isfile(path) else ""
