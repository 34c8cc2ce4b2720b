"""A state of an index, open for reading: whatever a writer does meanwhile, it stays as it is."""

from __future__ import annotations

import logging
import os
import pathlib
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError, FastSeekError
from ..knn.nearest import nearest_in_order
from ..knn.sort_keys import EMPTY, places_of, scores_of, sort_keys
from ..knn.vectors import blocks
from ..search._rescoring import rescore_in_order
from ..structures import Embeddings
from ..structures.arrays import BoolArray, FloatArray, IntArray
from .columns import decode_column, missing_column
from .engines import Query, propose, read_open_structure, read_structure
from .filters import Filter, select_rows
from .manifest import Manifest, SegmentEntry, check_file, is_as_written, read_manifest
from .names import BytesArray
from .segment import Segment, make_embeddings

CODED = 1 << 30  # bytes of vectors that are kept in memory as they are compared
NARROW = 0.1  # a filter that leaves a smaller share is searched exactly
TRIES = 20  # times a manifest is read anew because a writer was faster
Key = tuple[int, tuple[tuple[str, str], ...]]
logger = logging.getLogger("fastseek")


class Found(NamedTuple):
    """An answer: `keys` the ids that are listed, sorted; `indices` [Q, K] rows of them, -1 for
    none; `scores` [Q, K]; `exact` whether all images were compared.
    """

    keys: BytesArray
    indices: IntArray
    scores: FloatArray
    exact: bool


class Places(NamedTuple):
    """Where ids are: the number of the segment [N], -1 where there is none, and the row [N]."""

    segments: IntArray
    rows: IntArray


class View:
    """The segments that a manifest names, all files open.

    Args:
        line: the folder.
        manifest: its state.
        known: segments that are open already, by their entries.

    Raises:
        ArtefactError: a file is gone, or is not the one that was written.
    """

    def __init__(
        self,
        line: pathlib.Path,
        manifest: Manifest,
        known: Mapping[Key, Segment] | None = None,
    ) -> None:
        self.line, self.manifest = line, manifest
        open_already = known or {}
        self.segments = [
            open_already.get(_key(entry)) or Segment(line, entry) for entry in manifest.segments
        ]
        self._structure: Any = None
        # Open like all the others: it may be removed before it is first needed.
        entry = manifest.structure
        self._kept = None if entry is None else _keep_open(self, line / entry.file.name)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    def known(self) -> dict[Key, Segment]:
        """Its segments, for the next view."""
        return {_key(segment.entry): segment for segment in self.segments}

    def place(self, keys: BytesArray) -> Places:
        """Where some ids are."""
        numbers, rows = np.full((2, len(keys)), -1, np.int64)
        for number, segment in enumerate(self.segments):
            found = segment.find(keys)
            numbers[found >= 0] = number
            rows = np.where(found >= 0, found, rows)
        return Places(numbers, rows)

    def keys(self) -> BytesArray:
        """The ids of all images, sorted."""
        parts = [segment.keys[segment.live] for segment in self.segments]
        made: BytesArray = np.sort(np.concatenate([np.zeros(0, "S1"), *parts]), kind="stable")
        return made

    def select(self, wanted: Filter) -> BytesArray:
        """The ids of the images that fulfill a condition, sorted."""
        parts: list[BytesArray] = [np.zeros(0, "S1")]
        for segment in self.segments:
            allowed = self._allowed(segment, wanted)
            parts.append(segment.keys if allowed is None else segment.keys[allowed])
        made: BytesArray = np.sort(np.concatenate(parts), kind="stable")
        return made

    def vectors(self, places: Places) -> np.ndarray:
        """The vectors of images that are there, float [N, D]."""
        dim, dtype = self.manifest.dim, self.manifest.dtype
        made: np.ndarray = np.zeros((len(places.rows), dim), dtype)
        for number, segment in enumerate(self.segments):
            mine = places.segments == number
            if mine.any():
                made[mine] = segment.vectors[places.rows[mine]]
        return made

    def column(self, name: str, places: Places) -> list[Any]:
        """The values of a column for images that are there, None where one is missing."""
        values = np.empty(len(places.rows), object)
        for number, segment in enumerate(self.segments):
            mine = places.segments == number
            if mine.any():
                stored = self._stored(segment, name)[places.rows[mine]]
                values[mine] = decode_column(stored)
        return values.tolist()

    def _stored(self, segment: Segment, name: str) -> np.ndarray:
        stored = segment.column(name)
        if stored is not None:
            return stored
        return missing_column(self.manifest.columns[name], segment.entry.rows)

    def search(self, queries: Embeddings, k: int, wanted: Filter | None = None) -> Found:
        """The k best images of every query, ties in the order of the ids.

        Raises:
            DataError: a query is not finite, or zero under "cosine"; names its id.
        """
        exact, answers = True, []
        for segment in self.segments:
            allowed = self._allowed(segment, wanted)
            structure = self._structure_of(segment)
            if structure is None or _is_narrow(segment, allowed):
                answers.append(self._search_exactly(segment, queries, k, allowed))
            else:
                exact = False
                answers.append(self._search_structure(segment, queries, k, allowed))
        return self._merge(answers, len(queries), k, exact)

    def _allowed(self, segment: Segment, wanted: Filter | None) -> BoolArray | None:
        """Which rows may be listed, None for all of them."""
        if wanted is None:
            return segment.alive
        passed = select_rows(wanted.condition, lambda name: self._stored(segment, name))
        return passed if segment.alive is None else passed & segment.alive

    def _search_exactly(
        self, segment: Segment, queries: Embeddings, k: int, allowed: BoolArray | None
    ) -> tuple[IntArray, FloatArray]:
        metric = self.manifest.metric
        whole = allowed is segment.alive
        rows = None if allowed is None else np.flatnonzero(allowed)
        codes = segment.codes(metric) if whole and self._fits() else None
        found = nearest_in_order(queries, segment.pick(rows), k, metric, codes)
        return found.rows if rows is None else rows[found.rows], found.scores

    def _fits(self) -> bool:
        return len(self) * self.manifest.dim * 4 <= CODED

    def _search_structure(
        self, segment: Segment, queries: Embeddings, k: int, allowed: BoolArray | None
    ) -> tuple[IntArray, FloatArray]:
        """Candidates of a structure, scored exactly; a query for which it finds too few is
        compared with all.
        """
        metric, engine = self.manifest.metric, self.manifest.engine
        settings = self.manifest.structure.settings if self.manifest.structure else ()
        there = segment.entry.rows if allowed is None else int(np.count_nonzero(allowed))
        depth = min(k, there)
        indices = np.full((len(queries), depth), -1, np.int64)
        scores = np.full((len(queries), depth), -np.inf, np.float32)
        gallery = make_embeddings(segment.keys, segment.vectors, {})
        for mine, block in blocks(queries, metric, 1024):
            proposed = propose(engine, self._structure, Query(block, depth, allowed), settings)
            asked = make_embeddings(queries.ids[mine], np.asarray(queries.vectors[mine]), {})
            found = rescore_in_order(asked, gallery, proposed, depth, metric)
            indices[mine], scores[mine] = found
        short = np.flatnonzero((indices < 0).any(axis=1))
        if len(short):
            rest = make_embeddings(queries.ids[short], np.asarray(queries.vectors[short]), {})
            indices[short], scores[short] = self._search_exactly(segment, rest, k, allowed)
        return indices, scores

    def _structure_of(self, segment: Segment) -> Any:
        """The structure of a segment, None where it has none that can be used."""
        entry = self.manifest.structure
        if entry is None or entry.segment != segment.entry.number:
            return None
        with self._lock:
            if self._structure is None:
                self._structure = self._read_structure() or False
        return self._structure or None

    def _read_structure(self) -> Any:
        entry = self.manifest.structure
        if entry is None:
            return None
        try:
            if self._kept is None or not is_as_written(os.fstat(self._kept), entry.file):
                check_file(self.line, entry.file)
            if self._kept is None:
                return read_structure(self.line / entry.file.name)
            with open(os.dup(self._kept), "rb") as file:
                file.seek(0)
                return read_open_structure(file)
        except (FastSeekError, OSError, RuntimeError) as error:
            logger.warning(
                "%s cannot be used (%s): all images are compared; the next change builds it anew",
                self.line / entry.file.name,
                str(error).splitlines()[0],
            )
            return None

    def has_structure(self) -> bool:
        """Whether the structure the manifest names is there and is the one that was written."""
        entry = self.manifest.structure
        if entry is None:
            return False
        try:
            check_file(self.line, entry.file)
        except ArtefactError:
            return False
        return True

    def _merge(
        self, answers: Sequence[tuple[IntArray, FloatArray]], count: int, k: int, exact: bool
    ) -> Found:
        """The answers of all segments to one."""
        numbers = np.repeat(np.arange(len(answers)), [rows.shape[1] for rows, _ in answers])
        rows = np.concatenate([np.zeros((count, 0), np.int64), *(one for one, _ in answers)], 1)
        scores = np.concatenate([np.zeros((count, 0), np.float32), *(one for _, one in answers)], 1)
        keys, flat = self._listed(np.broadcast_to(numbers, rows.shape), rows)
        made = np.where(flat < 0, EMPTY, sort_keys(scores, flat.astype(np.uint32)))
        best = np.sort(made, axis=1)[:, :k]
        best = best[:, : int((best != EMPTY).sum(axis=1).max(initial=0))]
        indices = np.where(best == EMPTY, -1, places_of(best))
        listed = np.unique(indices[indices >= 0])
        indices = np.where(indices < 0, -1, np.searchsorted(listed, indices))
        return Found(keys[listed], indices, scores_of(best), exact)

    def _listed(self, numbers: IntArray, rows: IntArray) -> tuple[BytesArray, IntArray]:
        """The ids of some rows, sorted, and the place [Q, M] of each row among them, -1 for none."""
        # One number a row, so that each id is read once.
        codes = numbers << 40 | rows
        unique, back = np.unique(np.where(rows < 0, -1, codes), return_inverse=True)
        there = unique[unique >= 0]
        wide = max([1, *(segment.keys.dtype.itemsize for segment in self.segments)])
        keys: BytesArray = np.empty(len(there), f"S{wide}")
        for number, segment in enumerate(self.segments):
            mine = there >> 40 == number
            keys[mine] = segment.keys[there[mine] & (1 << 40) - 1]
        order = np.argsort(keys, kind="stable")
        place = np.empty(len(unique), np.int64)
        place[: len(unique) - len(there)] = -1
        place[len(unique) - len(there) :][order] = np.arange(len(there))
        return keys[order], place[back].reshape(rows.shape)


def open_view(line: pathlib.Path, known: Mapping[Key, Segment] | None = None) -> View:
    """The present state of a line.

    Raises:
        ArtefactError: it is damaged.
    """
    manifest = read_manifest(line)
    for _ in range(TRIES):
        try:
            return View(line, manifest, known)
        except ArtefactError as error:
            # A writer may have removed what an older manifest named.
            newer = read_manifest(line)
            if newer.generation == manifest.generation:
                raise
            manifest, last = newer, error
    raise last


def _key(entry: SegmentEntry) -> Key:
    """What tells one state of a segment from another: its number, and the content of its files."""
    files = sorted((kind, file.sha256) for kind, file in entry.files.items())
    return entry.number, tuple(files)


def _keep_open(owner: View, path: pathlib.Path) -> int | None:
    """The handle of a file, open as long as its owner is there; None where it cannot be opened."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None  # told when it is needed
    weakref.finalize(owner, os.close, handle)
    return handle


def _is_narrow(segment: Segment, allowed: BoolArray | None) -> bool:
    return allowed is not None and int(np.count_nonzero(allowed)) < NARROW * segment.entry.rows
