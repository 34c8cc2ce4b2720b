"""A ranking file to a submission, and a submission checked before it is handed in."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ArtefactError, DataError, UsageError
from ..formats import digix, gldv2
from ..formats.answer_lists import Lists, check, check_queries
from ..formats.gldv2_lists import read_ids
from ..formats.names import read_names
from ..io.atomic import check_writable
from ..io.paths import PathLike
from ..structures import Ranking
from ..structures.arrays import StringArray
from ..structures.listed_ids import Ids, ListedIds

KINDS = ("gldv2-retrieval", "digix")
CHECKED = (*KINDS, "gldv2-recognition")


class _Form(NamedTuple):
    """How a contest names images, and how its submissions are written."""

    name: Callable[[str], str]
    write: Callable[[PathLike, Ranking, Sequence[str], Sequence[str]], None]
    answers: int


def submit_file(
    kind: str,
    ranking: PathLike,
    out: PathLike,
    ids_of_queries: PathLike | None = None,
    ids_of_gallery: PathLike | None = None,
    queries: PathLike | None = None,
    gallery: PathLike | None = None,
) -> str:
    """Write the first answers of a ranking as a submission, checked before anything is written.

    Ids that are paths of images become the contest's ids ("0/1/2/0123….jpg" -> "0123…") for Google
    Landmarks.

    Args:
        kind: "gldv2-retrieval" or "digix".
        ranking: an .npz ranking.
        out: the submission.
        ids_of_queries, ids_of_gallery: files that name the images of a ranking over row numbers
            (bare .npy files), a name for every row in the order of the rows; as `read_names` reads
            them.
        queries: what must be answered (test.csv); the ranking's queries when not given. A Google
            Landmarks query that is not ranked gets an empty row.
        gallery: what may be answered with (index.csv); the ranking's gallery when not given.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError: `out` cannot be written or is an input, or row numbers would be handed in as
            ids.
        DataError: the submission would not be valid, or a file cannot be read; nothing is written.
        ArtefactError: names and ranking do not fit.
    """
    check_writable(out, [ranking, ids_of_queries, ids_of_gallery, queries, gallery])
    form = FORMS[kind]
    found = Ranking.load(ranking)
    found = dataclasses.replace(
        found,
        query_ids=_name_rows(
            found.query_ids, ids_of_queries, form, f"{ranking}: queries", "--ids-of-queries"
        ),
        gallery_ids=_name_gallery(found.gallery_ids, ids_of_gallery, form, ranking),
    )
    asked = read_names(queries) if queries is not None else found.query_ids.tolist()
    known = read_names(gallery) if gallery is not None else _told(found.gallery_ids).tolist()
    form.write(out, found, asked, known)
    return f"{len(asked)} queries, {min(found.indices.shape[1], form.answers)} images each: {out}"


def check_file(
    kind: str, file: PathLike, queries: PathLike | None = None, gallery: PathLike | None = None
) -> str:
    """Check that a submission would be taken.

    Args:
        kind: one of CHECKED.
        file: the submission.
        queries: what must be answered, each once; not compared when not given.
        gallery: what may be answered with; not compared when not given.

    Returns:
        one line that tells what is in it.

    Raises:
        UsageError: a gallery for a kind that names landmarks. DataError: it would be refused, or is
            empty; names file and line or query.
    """
    asked = read_names(queries) if queries is not None else None
    if kind == "gldv2-recognition":
        if gallery is not None:
            raise UsageError(
                "a recognition submission names landmarks, no images: leave out --gallery"
            )
        rows, answered, depth = read_ids(file), len(gldv2.read_recognition(file).ids), 1
        check_queries(rows, f"{file}", asked)
    else:
        known = read_names(gallery) if gallery is not None else None
        lists = digix.read_submission(file) if kind == "digix" else gldv2.read_retrieval(file)
        rows = lists.query_ids if kind == "digix" else read_ids(file)
        least = min(digix.ANSWERS, len(known) if known else digix.ANSWERS) if kind == "digix" else 0
        check_queries(rows, f"{file}", asked)
        check(lists, f"{file}", most=FORMS[kind].answers, least=least, images=known)
        answered, depth = len(lists.texts), _depth(lists)
    if not len(rows):
        raise DataError(f"{file}: holds no query, so there is nothing to hand in")
    return (
        f"{file}: {len(rows)} queries, {answered} answered, {depth} answers at most: nothing to"
        " complain of"
    )


def _depth(lists: Lists) -> int:
    return max((text.count(" ") + 1 for text in lists.texts if text), default=0)


def _name_rows(
    ids: np.ndarray, names: PathLike | None, form: _Form, what: str, option: str
) -> StringArray:
    """The ids [N] under the contest's names."""
    numbered = bool(len(ids)) and sorted(ids.tolist()) == sorted(map(str, range(len(ids))))
    if names is None and numbered:
        raise UsageError(
            f"{what} are known by their row numbers: name them with {option}, a file with a name a "
            "row"
        )
    if names is None:
        return np.array([form.name(name) for name in ids.tolist()], str)
    known = read_names(names)
    if not numbered:
        raise ArtefactError(
            f"{what} have ids of their own, the first is {str(ids[0]) if len(ids) else ''!r}: leave"
            f" out {option}"
        )
    if len(known) != len(ids):
        raise ArtefactError(
            f"{what} are {len(ids)}, {names} has {len(known)} names: it must name every row of the "
            "vectors"
        )
    return np.array([known[int(number)] for number in ids.tolist()], str)


def _name_gallery(ids: Ids, names: PathLike | None, form: _Form, ranking: PathLike) -> Ids:
    """The ids of the gallery under the contest's names, or those that are listed."""
    if isinstance(ids, ListedIds) and names is None and not _are_rows(ids):
        told = [form.name(name) for name in ids.names.tolist()]
        return ListedIds(ids.rows, np.array(told, str), ids.count, ids.digest)
    return _name_rows(np.asarray(ids), names, form, f"{ranking}: gallery", "--ids-of-gallery")


def _are_rows(ids: ListedIds) -> bool:
    return ids.names.tolist() == [str(row) for row in ids.rows.tolist()]


def _told(ids: Ids) -> np.ndarray:
    return ids.names if isinstance(ids, ListedIds) else np.asarray(ids)


def _bare(name: str) -> str:
    """The id in a path: folders and suffix left out."""
    return pathlib.PurePosixPath(name).stem if "/" in name or "." in name else name


FORMS = {
    "gldv2-retrieval": _Form(_bare, gldv2.write_retrieval, gldv2.ANSWERS),
    "digix": _Form(str, digix.write_submission, digix.ANSWERS),
}
