"""Huawei DIGIX 2020 image retrieval: label files and submissions. Neither has a header."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import DataError
from ..io.atomic import atomic
from ..io.csv_rows import check_unique, parse_integer, read_rows
from ..io.paths import PathLike
from ..structures import Ranking
from ..structures.arrays import StringArray
from .answer_lists import UNFIT, Lists, check

ANSWERS = 10  # of a query are handed in and count


def read_labels(path: PathLike) -> dict[str, int]:
    """Read label.txt: rows "DIGIX_000000/name.jpg,0"; image path below the training folder ->
    class.

    Raises:
        DataError: names file and line.
    """
    found: dict[str, int] = {}
    seen: dict[str, int] = {}
    for line, row in read_rows(path):
        if len(row) != 2:
            raise DataError(f"{path}:{line}: expected image,class, found {len(row)} values")
        check_unique(seen, row[0], path, line, "image")
        found[row[0]] = parse_integer(row[1].strip(), path, line, "class")
    return found


def write_labels(path: PathLike, labels: dict[str, int]) -> None:
    """Write rows as `read_labels` reads them, whole or not at all."""
    with atomic(path, "w") as file:
        file.writelines(f"{name},{label}\n" for name, label in labels.items())


def read_submission(path: PathLike) -> Lists:
    """Read rows "query.jpg,{first.jpg,second.jpg,…}", best first.

    Raises:
        DataError: a row has another form, or a query stands twice; names file and line.
    """
    seen: dict[str, int] = {}
    answers = []
    for line, row in read_rows(path):
        match = re.fullmatch(r"\{([^{}]*)\}", ",".join(row[1:]).strip())
        if not match:
            raise DataError(
                f"{path}:{line}: expected query,{{first,second,…}}, found {','.join(row)[:80]!r}"
            )
        check_unique(seen, row[0], path, line, "query")
        names = [name.strip() for name in match[1].split(",")] if match[1].strip() else []
        bad = next((name for name in names if not name or UNFIT.search(name)), None)
        if bad is not None:
            raise DataError(f"{path}:{line}: an answer must be one word, found {bad!r}")
        answers.append((row[0], names))
    return Lists.of(answers)


def write_submission(
    path: PathLike,
    answers: Lists | Ranking,
    queries: Sequence[str] | StringArray | None = None,
    gallery: Sequence[str] | StringArray | None = None,
) -> None:
    """Write the first ten answers of every query, whole or not at all.

    Args:
        path: the file.
        answers: lists, or a ranking whose first ten are taken.
        queries: those that must be answered; not compared when None.
        gallery: the images that may be answered with; not compared when None.

    Raises:
        DataError: a query is missing, unknown or stands twice, has another number of answers than
            ten (or all of a smaller gallery), or an answer stands twice or is unknown; nothing is
            written.
    """
    lists = Lists.from_ranking(answers, ANSWERS) if isinstance(answers, Ranking) else answers
    least = ANSWERS if gallery is None else min(ANSWERS, len(gallery))
    check(lists, f"{path}", most=ANSWERS, least=least, queries=queries, images=gallery)
    with atomic(path, "w") as file:
        file.writelines(f"{query},{{{','.join(names)}}}\n" for query, names in lists)
