"""A gallery that lives: a folder to which images are added, and from which they are deleted."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..errors import NO_ROOM, DataError, UsageError, shorten
from ..io.locks import hold_folder
from ..io.paths import PathLike, refuse_full_disk
from ..knn.vectors import METRICS
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance
from ..structures.arrays import BoolArray, StringArray
from ..structures.provenance import check_same_model
from ..suggestions import did_you_mean
from ._checks import check_view
from ._descriptions import describe_index, describe_search
from .columns import Metadata
from .draft import Draft
from .engines import FLAT, FLAT_BELOW, check_engine
from .filters import parse_filter
from .incoming import Given, as_queries, check_list, make_plain, refuse_known, stand_in
from .manifest import (
    Manifest,
    Pointer,
    read_pointer,
    sweep,
    write_manifest,
    write_pointer,
)
from .names import decode_names, encode_names
from .view import Places, View, open_view

logger = logging.getLogger("fastseek")
DTYPES = ("float32", "float16")


class Index:
    """Images by id in a folder: their vectors, and columns of metadata.

    An index that is open shows one state, whatever others write; `refresh` shows the newest, and a
    change of its own the one it made. Every change is there whole or not at all, on the disk when
    its call returns. One process writes at a time, any number read.

    Use `Index.create` or `Index.open`.

    Args:
        folder: of an index.

    Raises:
        DataError: it is no index. ArtefactError: it is damaged.
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = pathlib.Path(folder)
        self.name = str(folder)
        self._lock = threading.RLock()
        self._batches = 0
        self._open: View | None = open_view(self._line())

    @property
    def _view(self) -> View:
        if self._open is None:
            raise UsageError(f"{self.folder}: the index was closed: open it again")
        return self._open

    @classmethod
    def create(
        cls,
        folder: PathLike,
        engine: str = FLAT,
        metric: str = "cosine",
        dtype: str = "float32",
        provenance: Provenance | None = None,
        flat_below: int = FLAT_BELOW,
    ) -> Self:
        """Make an empty index; its dimension is that of its first images.

        Args:
            folder: new, or empty.
            engine: "flat" compares with every image; "hnsw" and "ivf_rabitq" do not, once there are
                `flat_below` images.
            metric: "cosine", "ip" (inner product) or "l2".
            dtype: "float32", or "float16" for half the space.
            provenance: what will make the vectors; that of the first ones when not given.
            flat_below: images below which every engine is flat.

        Raises:
            UsageError: something is there already, an argument is none of these, or faiss lacks the
                engine.
        """
        check_engine(engine)
        if metric not in METRICS or dtype not in DTYPES or flat_below < 0:
            raise UsageError(
                f"metric must be one of {', '.join(METRICS)}, dtype one of {', '.join(DTYPES)} and"
                f" flat_below 0 or more, got {metric!r}, {dtype!r} and {flat_below}"
            )
        folder = pathlib.Path(folder)
        with hold_folder(folder):
            _check_empty(folder)
            told = make_plain(provenance or {})
            make_line(folder / "1", Manifest(metric, engine, dtype, flat_below, provenance=told))
            write_pointer(folder, Pointer())
        return cls(folder)

    @classmethod
    def open(cls, folder: PathLike) -> Self:
        """Open an index; the errors are those of the class."""
        return cls(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._view)

    def __contains__(self, name: str) -> bool:
        return bool(self._place([name]).segments[0] >= 0)

    def known(self, ids: Sequence[str] | StringArray) -> BoolArray:
        """Which of some images [N] are there."""
        return self._place(ids).segments >= 0

    @property
    def dim(self) -> int:
        """D, the length of a vector; 0 before the first one."""
        return self._view.manifest.dim

    @property
    def columns(self) -> dict[str, str]:
        """The columns of metadata, each "number" or "text"."""
        return dict(self._view.manifest.columns)

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the vectors."""
        return dict(self._view.manifest.provenance)

    @property
    def rejects(self) -> pathlib.Path:
        """The file in which images that cannot be read are named."""
        return self.folder / "rejects.csv"

    @property
    def ids(self) -> StringArray:
        """The ids of all images, sorted."""
        return decode_names(self._view.keys())

    def close(self) -> None:
        """Let go of the files; what was written is on the disk already."""
        self._open = None

    def refresh(self) -> None:
        """Show the newest state.

        Raises:
            ArtefactError: it is damaged.
        """
        with self._lock:
            self._show(self._line())

    def add(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images that are not there yet, see `Store.add`."""
        given = Given(ids, vectors, metadata, provenance)

        def put(draft: Draft) -> int:
            places = draft.view.place(given.keys)
            known = np.flatnonzero(places.segments >= 0)
            if len(known):
                names = given.ids[given.order[known]].tolist()
                raise refuse_known(self.folder, names, len(given.ids))
            given.put(draft, self.folder)
            return len(given.ids)

        return self._change(put) if len(given.ids) else 0

    def upsert(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images, in the place of those that are there, see `Store.upsert`.

        A column that is not given keeps its values; only `path` and `content`, which tell of the
        image that was embedded, are cleared where they are not given.
        """
        given = Given(ids, vectors, metadata, provenance)

        def put(draft: Draft) -> int:
            places = draft.view.place(given.keys)
            given.keep(draft.view, places)
            replaced = draft.kill(places)
            given.put(draft, self.folder)
            return replaced

        return self._change(put) if len(given.ids) else 0

    def update(self, ids: Sequence[str] | StringArray, metadata: Metadata) -> int:
        """Give images that are there other metadata; returns how many.

        Their vectors stay, and so does a column that is not given.

        Raises:
            DataError: an image is not there, or a value cannot be stored.
            RunError: another process is writing, or the disk is full; nothing was changed.
        """

        def put(draft: Draft) -> int:
            places = self._find(ids)
            told = draft.manifest.provenance
            given = Given(ids, draft.view.vectors(places), metadata, told)
            places = draft.view.place(given.keys)
            given.keep(draft.view, places, lost=())
            draft.kill(places)
            given.put(draft, self.folder)
            return len(ids)

        return self._change(put) if len(ids) else 0

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there.

        Raises:
            RunError: another process is writing, or the disk is full; nothing was changed.
        """
        check_list(ids)
        keys = np.unique(encode_names(list(ids), "id"))
        return self._change(lambda draft: draft.kill(draft.view.place(keys)))

    def search(self, queries: Embeddings | np.ndarray, k: int = 10, filter: str = "") -> Ranking:
        """The k best images of every query, see `Store.search`."""
        view = self._view
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        asked = as_queries(queries)
        wanted = parse_filter(filter, view.manifest.columns) if filter else None
        if view.manifest.dim:
            check_same_model(asked, stand_in(view.manifest), "queries", "index")
        found = view.search(asked, k, wanted)
        provenance = describe_search(view, asked, k, wanted, found.exact)
        names = decode_names(found.keys)
        return Ranking(asked.ids, names, found.indices, found.scores, provenance)

    def select(self, filter: str) -> StringArray:
        """The ids of the images that fulfill a condition, sorted.

        Raises:
            UsageError: the filter cannot be read.
        """
        view = self._view
        wanted = parse_filter(filter, view.manifest.columns)
        return decode_names(view.select(wanted))

    def metadata(
        self, ids: Sequence[str] | StringArray, columns: Sequence[str] | None = None
    ) -> dict[str, list[Any]]:
        """The metadata of some images by column, see `Store.metadata`."""
        known = self._view.manifest.columns
        names = list(known) if columns is None else list(columns)
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
                raise UsageError(f"{self.folder}: no column is called {name!r}{hint}")
        places = self._find(ids)
        return {name: self._view.column(name, places) for name in names}

    def vectors(self, ids: Sequence[str] | StringArray) -> Embeddings:
        """The stored vectors of some images.

        Raises:
            DataError: an image is not there.
        """
        vectors = self._view.vectors(self._find(ids))
        return Embeddings(np.asarray(ids, str), vectors, self.provenance)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Changes inside the block leave the structure of the engine to its end; each of them is on
        the disk when its call returns.
        """
        with self._lock:
            self._batches += 1
        try:
            yield
        finally:
            with self._lock:
                self._batches -= 1
        self._change(lambda _: 0)

    def check_fits(self, embeddings: Embeddings, what: str = "images") -> None:
        """Check that embeddings are of the model and dimension of the index.

        Raises:
            ArtefactError: they are not; says in which they differ.
        """
        if self.dim:
            check_same_model(embeddings, stand_in(self._view.manifest), what, "index")

    def compact(self) -> None:
        """Write all images as one segment, and build the structure of the engine anew.

        Raises:
            RunError: another process is writing, or the disk is full; nothing was changed.
        """

        def write_all(draft: Draft) -> int:
            if len(draft.view):
                if _wants_structure(draft.manifest):
                    draft.build()
                else:
                    draft.compact()
            return 1

        self._change(write_all)

    def info(self) -> dict[str, Any]:
        """What the index holds: counts, model, engine, columns, bytes."""
        return describe_index(self.folder, self._view.manifest)

    def check(self) -> list[str]:
        """Read every byte of the newest state; returns what is wrong, nothing when it is whole."""
        return check_view(self._line())

    def _hold(self) -> contextlib.AbstractContextManager[None]:
        """Keep other writers away."""
        return hold_folder(self.folder)

    def _line(self) -> pathlib.Path:
        return self.folder / read_pointer(self.folder).current

    def _show(self, line: pathlib.Path) -> None:
        known = self._view.known() if line == self._view.line else None
        self._open = open_view(line, known)

    def _place(self, ids: Sequence[str] | StringArray) -> Places:
        return self._view.place(encode_names(ids, "id"))

    def _find(self, ids: Sequence[str] | StringArray) -> Places:
        places = self._place(ids)
        missing = np.flatnonzero(places.segments < 0)
        if len(missing):
            raise DataError(
                f"{self.folder}: {len(missing)} of {len(ids)} images are not there, such as"
                f" {shorten(str(ids[missing[0]]))!r}"
            )
        return places

    def _change(self, make: Callable[[Draft], int]) -> int:
        """Change the newest state; returns what `make` does, 0 for nothing."""
        with self._lock, self._hold():
            with refuse_full_disk(self.folder, "the index is as it was"):
                line = self._line()
                self._show(line)
                draft = Draft(self._view, sweep(line, self._view.manifest))
                done = make(draft)
                if draft.is_changed():
                    draft.commit()
                    self._show(line)
            self._build_stale(line)
        return done

    def _build_stale(self, line: pathlib.Path) -> None:
        """Build the structure where that is due; the change is made already, so that a full disk
        is no failure.
        """
        draft = Draft(self._view, self._view.manifest)
        if self._batches or not draft.is_stale():
            return
        try:
            draft.build()
            draft.commit()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            logger.warning(
                "%s: the change is made, but the structure of %s is not built (%s): until a later"
                " change builds it, more images are compared one by one",
                self.folder,
                self._view.manifest.engine,
                error.strerror,
            )
        self._show(line)


def make_line(line: pathlib.Path, manifest: Manifest) -> None:
    """Make an empty line of an index."""
    line.mkdir(exist_ok=True)
    write_manifest(line, manifest)


def _check_empty(folder: pathlib.Path) -> None:
    """Refuse a folder that holds anything but what a killed `create` left."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if "index.json" in names:
        raise UsageError(f"{folder}: is an index already: name another folder")
    if names - {"1"}:
        raise UsageError(f"{folder}: is not empty: name another folder for the index")


def _wants_structure(manifest: Manifest) -> bool:
    return manifest.engine != FLAT and manifest.live >= max(1, manifest.flat_below)
