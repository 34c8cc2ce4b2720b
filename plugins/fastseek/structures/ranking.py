"""Ranking: what was found for every query."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, UsageError
from ..io.file_kinds import check_written_over
from ..io.paths import PathLike
from ._old_field_name import accept_old_field_name
from .answers import Answer, AnswerTable, find_form, iterate_answers
from .archive import (
    Provenance,
    describe_file,
    float32,
    load_npz,
    save_arrays,
    save_npz,
    unique_ids,
    whole_numbers,
)
from .arrays import FloatArray, IntArray, StringArray
from .identity import root_of
from .listed_ids import Ids, ListedIds, check_ids, same_ids

WHOLE = 65536  # images of a gallery whose ids are all written beside a ranking
_RANKED = ("indices", "scores", "query_ids")
_WHOLE = (*_RANKED, "gallery_ids")
_LISTED = (*_RANKED, "listed_rows", "listed_ids", "gallery")
# What shows a ranking stands far above it, and says so when it is imported: see `set_viewer`.
_viewer: Callable[..., Any] | None = None


def set_viewer(viewer: Callable[..., Any]) -> None:
    """Say what `Ranking.show` calls: with the ranking, the images, and keyword arguments."""
    global _viewer
    _viewer = viewer


@accept_old_field_name
@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """What was found for every query, best first.

    Args:
        query_ids: [Q] strings.
        gallery_ids: [G] strings, an array or a column; or those that are listed, with what tells the
            gallery from others, see `ListedIds`.
        indices: [Q, K] int64 rows of the gallery, none twice in a row; -1 fills a short row at its
            end.
        scores: [Q, K] float32, larger is better, falling; -inf where the index is -1.
        provenance: what made it.

    Raises:
        DataError: shapes differ, an index is no whole number, out of range or stands twice, scores
            rise, are NaN or infinite where an image is listed.
    """

    query_ids: StringArray
    gallery_ids: Ids
    indices: IntArray
    scores: FloatArray
    provenance: Provenance = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "query_ids", unique_ids(self.query_ids, "queries"))
        put(self, "gallery_ids", check_ids(self.gallery_ids, "gallery"))
        put(self, "indices", whole_numbers(self.indices, "indices"))
        put(self, "scores", float32(self.scores, "scores"))
        self._check_provenance()
        self._check_shapes()
        self._check_rows()

    def _check_provenance(self) -> None:
        for side in ("queries", "gallery"):
            told = self.provenance.get(side, {})
            if not _of_side(told):
                raise DataError(
                    f"the provenance tells {str(told)[:80]!r} of its {side}, must be an object"
                )

    def _check_shapes(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.scores.shape:
            raise DataError(
                f"indices {self.indices.shape} and scores {self.scores.shape} must both be [Q, K]"
            )
        if len(self.indices) != len(self.query_ids):
            raise DataError(f"{len(self.indices)} rows for {len(self.query_ids)} queries")
        if self.indices.size and not -1 <= self.indices.min() <= self.indices.max() < len(
            self.gallery_ids
        ):
            raise DataError(f"an index is outside the gallery of {len(self.gallery_ids)}")
        if isinstance(self.gallery_ids, ListedIds):
            listed = np.unique(self.indices[self.indices >= 0])
            nameless = listed[~np.isin(listed, self.gallery_ids.rows)]
            if len(nameless):
                raise DataError(
                    f"the id of row {nameless[0]} of the gallery, which is listed, is missing"
                )

    def _check_rows(self) -> None:
        if np.isnan(self.scores).any():
            raise DataError(f"scores of query {self._where(np.isnan(self.scores))!r} are NaN")
        if ((self.indices < 0) != np.isneginf(self.scores)).any():
            raise DataError("index -1 and score -inf must stand together, at the end of a row")
        if np.isposinf(self.scores[:, :1]).any():  # elsewhere they would rise
            raise DataError(
                f"scores of query {self._where(np.isposinf(self.scores))!r} are infinite"
            )
        if self.indices.shape[1] < 2:
            return
        rising = self.scores[:, 1:] > self.scores[:, :-1]
        if rising.any():
            raise DataError(f"scores of query {self._where(rising)!r} rise: best must stand first")
        for start in range(0, len(self.indices), 4096):
            row = np.sort(self.indices[start : start + 4096], axis=1)
            twice = (row[:, 1:] == row[:, :-1]) & (row[:, 1:] >= 0)
            if twice.any():
                name = str(self.query_ids[start + int(twice.any(axis=1).argmax())])
                raise DataError(f"query {name!r} lists a gallery image twice")

    def _where(self, bad: np.ndarray) -> str:
        return str(self.query_ids[int(bad.any(axis=1).argmax())])

    def rows(self) -> Iterator[Answer]:
        """Yield every answer (query, rank from 1, id, score), query by query, best first."""
        yield from iterate_answers(self.query_ids, self.gallery_ids, self.indices, self.scores)

    def to_csv(
        self, path: PathLike, labels: Mapping[str, str] | None = None, force: bool = False
    ) -> None:
        """Write a CSV file with a row an answer: query, rank, id, path, score, and label.

        Args:
            path: the file, .csv or .csv.gz, written whole or not at all.
            labels: id -> label of the gallery; without it there is no column of labels.
            force: whether a file that is no ranking is replaced, too.

        Raises:
            UsageError: the name says another kind of file, or one of another kind is there.
        """
        self._tabulate(path, (".csv", ".csv.gz"), labels, force).write(path)

    def to_json(
        self, path: PathLike, labels: Mapping[str, str] | None = None, force: bool = False
    ) -> None:
        """Write a JSON list with an object an answer, whose keys are the columns of `to_csv`; where
        the name ends in .jsonl, an object a line. The arguments are those of `to_csv`.
        """
        self._tabulate(path, (".json", ".jsonl"), labels, force).write(path)

    def _tabulate(
        self, path: PathLike, forms: Sequence[str], labels: Mapping[str, str] | None, force: bool
    ) -> AnswerTable:
        find_form(path, forms)
        check_written_over(path, "ranking", force)
        return AnswerTable(self.rows(), root_of(self.provenance, "gallery"), labels)

    def show(self, images: Any = None, **options: Any) -> Any:
        """Show the answers with their images, as `fastseek.show` does; the arguments are its own.

        Raises:
            UsageError: `fastseek` shows nothing yet, for only its inner modules were imported.
        """
        if _viewer is None:
            raise UsageError("import fastseek.api first, or call fastseek.show(ranking)")
        return _viewer(self, images, **options)

    def with_gallery(self, ids: Ids) -> Ranking:
        """The same ranking with all ids of its gallery; one that was read from a file may know only
        those that it lists.

        Args:
            ids: of the embeddings that were searched.

        Raises:
            ArtefactError: they are of another gallery, or in another order.
        """
        if not same_ids(self.gallery_ids, ids):
            raise ArtefactError(
                f"the ranking is not of this gallery: it was searched in {len(self.gallery_ids)}"
                f" images, these are {len(ids)} images, others or in another order; give the"
                " embeddings it was searched in"
            )
        return dataclasses.replace(self, gallery_ids=ids)

    def save(self, path: PathLike, force: bool = False) -> None:
        """Write an .npz with `indices` (rows of the gallery), `scores`, `query_ids` and the provenance
        as JSON.

        Of a gallery of up to 65,536 images it holds all `gallery_ids`. Of a larger one it holds
        `listed_rows` [L], the rows that are listed, `listed_ids` [L], their ids, and `gallery`, JSON
        with the count of its ids, their digest and the file they are read from, see `ListedIds`.

        Args:
            path: the file; a name without a suffix is taken as it is.
            force: whether a file that is no ranking is replaced, too.

        Raises:
            UsageError: the name says another kind of file, or one of another kind is there.
        """
        find_form(path, (".npz",))
        check_written_over(path, "ranking", force)
        ids = self.gallery_ids
        if len(ids) <= WHOLE and not isinstance(ids, ListedIds):
            save_npz(path, self, _WHOLE, self.provenance)
            return
        listed = ListedIds.pick(ids, self.indices)
        about = {"count": len(listed), "digest": listed.digest, "file": listed.file}
        arrays = {name: np.asarray(getattr(self, name)) for name in _RANKED}
        arrays |= {"listed_rows": listed.rows, "listed_ids": listed.names}
        arrays["gallery"] = np.asarray(json.dumps(about, sort_keys=True))
        save_arrays(path, arrays, self.provenance)

    @classmethod
    def load(cls, path: PathLike) -> Ranking:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or not a ranking. ArtefactError: it is damaged.
        """
        arrays, provenance = load_npz(path, _WHOLE, _LISTED)
        with describe_file(path):
            ids: Ids
            if "gallery" in arrays:
                ids = _read_listed(*(arrays.pop(name) for name in _LISTED[len(_RANKED) :]))
            else:
                ids = arrays.pop("gallery_ids")
            return cls(gallery_ids=ids, provenance=provenance, **arrays)


def _read_listed(rows: np.ndarray, names: np.ndarray, about: np.ndarray) -> ListedIds:
    try:
        told = json.loads(str(about))
        count, digest, file = (told[name] for name in ("count", "digest", "file"))
        if not (isinstance(count, int) and isinstance(digest, str) and isinstance(file, str)):
            raise ValueError(f"it tells {str(told)[:80]}")
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"what it tells of its gallery is not whole ({error})") from error
    return ListedIds(whole_numbers(rows, "listed_rows"), names, count, digest, file)


def _of_side(told: Any, member: bool = False) -> bool:
    """Whether it is a provenance, or a list as merged rankings have it where those of the members
    differ.
    """
    if isinstance(told, list):
        return all(_of_side(one, True) for one in told)
    return isinstance(told, Mapping) or member and told is None
