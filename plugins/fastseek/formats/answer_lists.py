"""Lists: for every query the names of the images it was answered with, as submissions hold them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..errors import DataError
from ..structures import Ranking
from ..structures.arrays import StringArray

UNFIT = re.compile(r'[\s,"{}]')  # what a name in a submission cannot hold


@dataclasses.dataclass(frozen=True, eq=False)
class Lists:
    """Answers to queries, best first; unlike in a Ranking an image may stand twice, and there are
    no scores.

    Args:
        query_ids: [Q] strings.
        texts: for every query the names of its answers with one space between: a tenth of the
            memory of names apart.
    """

    query_ids: np.ndarray
    texts: Sequence[str]

    @classmethod
    def of(cls, answers: Iterable[tuple[str, Sequence[str]]]) -> Lists:
        """From (query, names of its answers) pairs."""
        pairs = [(query, " ".join(names)) for query, names in answers]
        return cls(np.asarray([query for query, _ in pairs], str), [text for _, text in pairs])

    @classmethod
    def from_ranking(cls, ranking: Ranking, k: int) -> Lists:
        """The first k answers of every query."""
        names = ranking.gallery_ids
        return cls(
            ranking.query_ids,
            [" ".join(names[row[row >= 0]].tolist()) for row in ranking.indices[:, :k]],
        )

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """(query, names of its answers) pairs."""
        for query, text in zip(self.query_ids.tolist(), self.texts, strict=True):
            yield query, text.split()


def check(
    lists: Lists,
    what: str,
    *,
    most: int,
    least: int = 0,
    queries: Sequence[str] | StringArray | None = None,
    images: Sequence[str] | StringArray | None = None,
) -> None:
    """Check that lists may be handed in.

    Args:
        lists: what is to be checked.
        what: told in errors, such as the file.
        most, least: how many answers a query may have.
        queries: those that must be answered, each once; not compared when None.
        images: those that may be answered with; not compared when None.

    Raises:
        DataError: a query is missing, unknown or stands twice, has too many or too few answers, an
            answer stands twice, is unknown, or a name cannot be written; names the query.
    """
    check_queries(lists.query_ids, what, queries)
    known = None if images is None else set(images)
    for query, names in lists:
        where = f"{what}: query {query!r}"
        if not least <= len(names) <= most:
            raise DataError(f"{where} has {len(names)} answers, must have {least} to {most}")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{where} is answered with {twice!r} twice")
        if known is not None and not known.issuperset(names):
            unknown = next(name for name in names if name not in known)
            raise DataError(f"{where} is answered with {unknown!r}, which is not in the gallery")
        if names:
            _check_name("".join(names), f"{where}: answer {' '.join(names)[:80]!r}")


def check_queries(
    ids: Sequence[str] | StringArray,
    what: str,
    queries: Sequence[str] | StringArray | None = None,
) -> None:
    """Check that queries can be written, stand once, and are those asked for.

    Raises:
        DataError: they are not; names the first.
    """
    values, counts = np.unique(np.asarray(ids, str), return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f"{what}: query {str(values[counts.argmax()])!r} stands {counts.max()} times, must be"
            " once"
        )
    for name in values.tolist():
        _check_name(name, f"{what}: query {name!r}")
    if queries is None:
        return
    wanted = np.asarray(queries, str)
    for missing, rule in (
        (np.setdiff1d(wanted, values), "are missing"),
        (np.setdiff1d(values, wanted), "are not among those asked"),
    ):
        if len(missing):
            raise DataError(
                f"{what}: {len(missing)} of {len(wanted)} queries {rule}, the first is "
                f"{str(missing[0])!r}"
            )


def _check_name(name: str, where: str) -> None:
    if not name or UNFIT.search(name):
        raise DataError(
            f"{where} cannot be written: a name must be one word without commas, quotes and braces"
        )
