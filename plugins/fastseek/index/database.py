"""What the indexes in databases share: what an index says of itself, and how images get into it."""

from __future__ import annotations

import abc
import contextlib
import pathlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np

from ..errors import DataError, UsageError, shorten
from ..knn.vectors import METRICS
from ..progress import progress
from ..search._rescoring import look_up_rows, rescore_pairs
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance, unique_ids
from ..structures.arrays import BoolArray, StringArray
from ..structures.provenance import check_same_model
from ..suggestions import did_you_mean
from .columns import RESERVED, Columns, Metadata, decode_column, encode_columns, kind_of_column
from .incoming import digest_arrival, merge_provenances, refuse_known

Answer = TypeVar("Answer")


class Piece(NamedTuple):
    """Images that are stored at once.

    `values` are their columns, None where one is missing; `known` tells whether any of them may be
    there already.
    """

    embeddings: Embeddings
    values: Mapping[str, list[Any]]
    known: bool


class DatabaseIndex(abc.ABC):
    """An index in a database.

    `name` is its URI; `about` says "dim", "metric", "columns" and "passport", the provenance, and
    while many images are being put in "loading", by which the same call is known that goes on.
    """

    piece: ClassVar[int]  # images that are stored at once: what a kill can cost
    name: str
    about: dict[str, Any]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many images there are."""

    @abc.abstractmethod
    def _reading(self, what: str) -> contextlib.AbstractContextManager[None]:
        """A block that reads: `about` is read anew before it, as others may have changed it.

        Args:
            what: it does, for errors.
        """

    @abc.abstractmethod
    def _writing(self, what: str, whole: bool) -> contextlib.AbstractContextManager[None]:
        """A block that writes: `about` is read anew before it.

        Args:
            what: it does, for errors.
            whole: whether all of it is one change, where the database has such.
        """

    @abc.abstractmethod
    def _read(self, ids: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The values of some images that are there, by id; one that is missing is left out."""

    @abc.abstractmethod
    def _check_column(self, name: str) -> None:
        """Check that a new column can be called so.

        Raises:
            UsageError: it cannot.
        """

    @abc.abstractmethod
    def _tell(self, decide: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Change `about`, while nobody else does.

        Args:
            decide: what is to be said instead, of what is said now; may raise.
        """

    @abc.abstractmethod
    def _store(self, piece: Piece) -> None:
        """Put images in, in the place of those that are there."""

    @abc.abstractmethod
    def _store_columns(self, ids: Sequence[str], values: Mapping[str, list[Any]]) -> None:
        """Give images that are there other values."""

    @abc.abstractmethod
    def _begin_load(self) -> None:
        """Many images will be put in, in pieces."""

    @abc.abstractmethod
    def _end_load(self, many: bool) -> None:
        """Images were put in; `many` in pieces."""

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return int(self.about["dim"])

    @property
    def columns(self) -> dict[str, str]:
        """The columns of metadata, each "number" or "text"."""
        return dict(self.about.get("columns", {}))

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the vectors."""
        return dict(self.about["passport"])

    @property
    def rejects(self) -> pathlib.Path:
        """The file in which images that cannot be read are named."""
        return pathlib.Path("rejects.csv")

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Nothing is put off."""
        yield

    def check_fits(self, embeddings: Embeddings, what: str = "images") -> None:
        """Check that embeddings are of the model and dimension of the index.

        Raises:
            ArtefactError: they are not; says in which they differ.
        """
        empty = np.zeros((0, self.dim), np.float32)
        mine = Embeddings(np.zeros(0, str), empty, self.provenance)
        check_same_model(embeddings, mine, what, "index")

    def add(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images that are not there yet, see `Store.add`.

        Many images are stored in pieces. Killed, some of them are there, and the same call stores
        the others.
        """
        given = _as_embeddings(ids, vectors, provenance)
        absent: list[bool] = []
        return self._attempt(lambda _: self._put(given, metadata or {}, False, absent))

    def upsert(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images, in the place of those that are there, see `Store.upsert`."""
        given = _as_embeddings(ids, vectors, provenance)
        return self._attempt(lambda _: self._put(given, metadata or {}, True, []))

    def update(self, ids: Sequence[str] | StringArray, metadata: Metadata) -> int:
        """Give images that are there other metadata; returns how many. Their vectors stay.

        Raises:
            DataError: an image is not there, or a value cannot be stored.
        """
        names = unique_ids(ids, "images")
        listed = names.tolist()

        def work(_: bool) -> None:
            with self._writing("store metadata", whole=True):
                columns = self._encode(metadata, names)
                self._check_all_there(listed, self._read(listed, []))
                self._tell(lambda about: self._tell_columns(about, columns))
                self._store_columns(listed, _decode(columns))

        self._attempt(work)
        return len(listed)

    def _attempt(self, work: Callable[[bool], Answer]) -> Answer:
        """Do something that may be done twice; `work` is given whether it was tried before."""
        return work(False)

    def _put(self, given: Embeddings, metadata: Metadata, replace: bool, absent: list[bool]) -> int:
        """Put images in.

        Args:
            given: the images.
            metadata: of them.
            replace: whether they may be there.
            absent: gets True where none was there; kept from one attempt to the next.
        """
        names = given.ids
        many = len(names) > self.piece
        with self._writing("store images", whole=not many):
            self.check_fits(given)
            columns = self._encode(metadata, names)
            load = digest_arrival(given, columns, self.about["metric"]) if many else ""
            there = set(self._read(names.tolist(), [])) if len(self) else set()
            goes_on = bool(load) and self.about.get("loading") == load
            # What an earlier attempt, which found none, tried may be done, and the answer lost.
            done = bool(absent) and len(there) == len(names)
            if not there:
                absent.append(True)
            if there and not replace and not goes_on and not done:
                raise refuse_known(self.name, sorted(there), len(names))
            if there:
                # Of other vectors neither file nor content is known, unless they are told.
                lost = {name: [None] * len(names) for name in RESERVED if name in self.columns}
                columns = {**encode_columns(lost, names, self.columns), **columns}
            self._tell(lambda about: self._tell_arrival(about, given, columns, load))
            if many and not goes_on:
                self._begin_load()
            wanted = [replace or one not in there for one in names.tolist()]
            rows = np.flatnonzero(np.array(wanted, bool))
            self._store_pieces(given, columns, rows, known=replace and bool(there))
            self._end_load(many)
            if many:
                self._tell(lambda about: {"loading": ""} if about.get("loading") == load else {})
        return len(there) if replace else len(names)

    def _store_pieces(
        self, given: Embeddings, columns: Columns, rows: np.ndarray, known: bool
    ) -> None:
        """Put some rows of the images in, many at once."""
        starts = range(0, len(rows), self.piece)
        for start in progress(starts, "storing", unit=f"x {self.piece} images"):
            mine = rows[start : start + self.piece]
            some = Embeddings(given.ids[mine], np.asarray(given.vectors[mine]), given.provenance)
            part = {name: column[mine] for name, column in columns.items()}
            self._store(Piece(some, _decode(part), known))

    def _encode(self, metadata: Metadata, names: StringArray) -> Columns:
        columns = encode_columns(metadata, names, self.columns)
        for name in sorted(set(columns) - set(self.columns)):
            self._check_column(name)
        return columns

    def _tell_columns(self, about: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
        """What is to be said instead when there are more columns.

        Raises:
            DataError: another process made one of them of another kind meanwhile.
        """
        told = dict(about.get("columns", {}))
        kinds = {name: kind_of_column(column) for name, column in columns.items()}
        for name in sorted(set(told) & set(kinds)):
            if told[name] != kinds[name]:
                raise DataError(f"{self.name}: the column {name!r} is of {told[name]}s")
        return {"columns": {**told, **kinds}} if set(kinds) - set(told) else {}

    def _tell_arrival(
        self, about: dict[str, Any], given: Embeddings, columns: Columns, load: str
    ) -> dict[str, Any]:
        """What is to be said instead when images are put in, which are compared with what is said
        now: another process may have put in some of another model.
        """
        self.about = about
        self.check_fits(given)
        told = self._tell_columns(about, columns)
        passport = self._merge_passport(given.provenance, not len(self))
        told |= {"passport": passport} if passport != about["passport"] else {}
        return told | ({"loading": load} if load and about.get("loading") != load else {})

    def known(self, ids: Sequence[str] | StringArray) -> BoolArray:
        """Which of some images [N] are there."""
        wanted = [str(name) for name in ids]

        def work(_: bool) -> dict[str, dict[str, Any]]:
            with self._reading("look for images"):
                return self._read(wanted, [])

        there = self._attempt(work)
        return np.array([name in there for name in wanted], bool)

    def metadata(
        self, ids: Sequence[str] | StringArray, columns: Sequence[str] | None = None
    ) -> dict[str, list[Any]]:
        """The metadata of some images by column, see `Store.metadata`."""
        wanted = [str(name) for name in ids]

        def work(_: bool) -> tuple[list[str], dict[str, dict[str, Any]]]:
            with self._reading("read metadata"):
                names = list(self.columns) if columns is None else list(columns)
                for name in names:
                    if name not in self.columns:
                        hint = did_you_mean(name, self.columns)
                        raise UsageError(f"{self.name}: no column is called {name!r}{hint}")
                return names, self._read(wanted, names)

        names, rows = self._attempt(work)
        self._check_all_there(wanted, rows)
        return {column: [rows[name].get(column) for name in wanted] for column in names}

    def _check_loading(self) -> list[str]:
        if not self.about.get("loading"):
            return []
        return [f"{self.name}: putting in images was stopped: the same command goes on"]

    def _check_all_there(self, wanted: Sequence[str], there: Container[str]) -> None:
        """Check that all wanted images are there.

        Raises:
            DataError: one is not.
        """
        missing = [name for name in wanted if name not in there]
        if missing:
            raise DataError(
                f"{self.name}: {len(missing)} of {len(wanted)} images are not there, such as"
                f" {shorten(missing[0])!r}"
            )

    def _rank(
        self,
        queries: Embeddings,
        names: Sequence[Sequence[str]],
        gallery: Embeddings,
        k: int,
        told: Mapping[str, Any],
    ) -> Ranking:
        """The k best of what the database proposed, scored exactly.

        Args:
            queries: [Q].
            names: [Q] ids that are proposed for each.
            gallery: all of these, in the order of their ids.
            k: how many are kept.
            told: for the provenance.
        """
        width = max(map(len, names), default=0)
        rows = look_up_rows(names, gallery.ids, width)
        found, scores = rescore_pairs(queries, gallery, rows, k, self.about["metric"])
        listed = np.unique(found[found >= 0])
        indices = np.where(found < 0, -1, np.searchsorted(listed, found))
        sides = {"queries": dict(queries.provenance), "gallery": self.provenance}
        provenance = {**told, "exact": False, **sides}
        return Ranking(queries.ids, gallery.ids[listed], indices, scores, provenance)

    def _merge_passport(self, given: Provenance, empty: bool) -> dict[str, Any]:
        """The provenance after more images, which fit; `empty` where there are none yet."""
        told = self.provenance
        # An index that was emptied may tell the root of images that are gone.
        return merge_provenances(told, given, first=empty and "root" not in told)


def _as_embeddings(
    ids: Sequence[str] | StringArray, vectors: Any, provenance: Provenance | None
) -> Embeddings:
    array = vectors if hasattr(vectors, "shape") else np.asarray(vectors, np.float32)
    return Embeddings(unique_ids(ids, "images"), array, provenance or {})


def _decode(columns: Columns) -> dict[str, list[Any]]:
    return {name: decode_column(column) for name, column in columns.items()}


def check_space(dim: int, metric: str) -> None:
    """Check what the vectors of a new index are said to be.

    Raises:
        UsageError: an argument makes no sense.
    """
    if dim < 1 or metric not in METRICS:
        raise UsageError(
            f"dim must be 1 or more and metric one of {', '.join(METRICS)}, got {dim} and {metric!r}"
        )
