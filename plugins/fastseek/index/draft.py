"""A change of an index on its way to the manifest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ..knn.nearest import nearest_in_order
from ..knn.vectors import check_vectors
from ..search._faiss_probes import SAMPLE as TUNED_WITH
from ..search._rescoring import rescore_in_order
from ..structures.arrays import IntArray, Picked, Shards, VectorArray
from .columns import Columns, missing_column
from .engines import FLAT, Query, build_structure, propose, read_structure, tune_structure
from .manifest import Manifest, SegmentEntry, StructureEntry, retire, write_manifest
from .names import BytesArray
from .segment import Segment, make_embeddings, write_dead, write_segment
from .view import Places, View

SMALL, STEP = 1024, 4  # rows of a small segment; how much larger those of the next size are
MOST_SMALL, MOST = 7, 3  # segments of one size that are left alone
STALE = 0.3  # a structure that covers so much less than there is, is built anew
SAMPLE, DEPTH = 100, 10  # images, and answers of each, on which its recall is measured


class Draft:
    """What a writer does to a line: nothing of it counts before `commit`.

    Args:
        view: the present state.
        manifest: that of the view, swept.
    """

    def __init__(self, view: View, manifest: Manifest) -> None:
        self.view, self.line, self.before = view, view.line, manifest
        self.manifest = manifest
        self.dying: dict[int, IntArray] = {}
        self.added: list[SegmentEntry] = []
        self.absorbed: set[int] = set()
        self.structure = manifest.structure
        self.is_edited = False

    def replace(self, **fields: Any) -> None:
        """Change what the manifest tells."""
        self.manifest = msgspec.structs.replace(self.manifest, **fields)

    def kill(self, places: Places) -> int:
        """Delete images; returns how many of them there are."""
        for number in np.unique(places.segments[places.segments >= 0]).tolist():
            rows = np.unique(places.rows[places.segments == number])
            self.dying[number] = np.union1d(self.dying.get(number, rows), rows)
        self.is_edited |= bool(self.dying)
        return sum(map(len, self.dying.values()))

    def put(self, keys: BytesArray, vectors: VectorArray, columns: Columns) -> None:
        """Write images in the order of their ids, together with small segments that have become
        many.
        """
        group = self._group(len(keys))
        self._write([(keys, vectors, columns), *map(self._rest, group)])
        self.absorbed |= set(group)
        self.is_edited = True

    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        is_built = self.structure is not self.before.structure
        return bool(self.dying or self.added or self.absorbed or is_built)

    def compact(self) -> None:
        """Write all that is left as one segment."""
        group = list(range(len(self.view.segments)))
        parts = [part for part in map(self._rest, group) if len(part[0])]
        self.absorbed = set(group)
        if parts:
            self._write(parts)

    def is_stale(self) -> bool:
        """Whether the structure must be built, or built anew."""
        manifest, view = self.manifest, self.view
        if manifest.engine == FLAT or manifest.live < max(1, manifest.flat_below):
            return False
        entry = manifest.structure
        bases = [one for one in manifest.segments if entry and one.number == entry.segment]
        if not bases or not view.has_structure():
            return True
        fresh = manifest.live - (bases[0].rows - bases[0].dead) + bases[0].dead
        return fresh > STALE * bases[0].rows

    def build(self) -> None:
        """Write all as one segment, unless it is, and the structure of it."""
        segments = self.view.segments
        if len(segments) > 1 or segments[0].entry.dead:
            self.compact()
            segment = Segment(self.line, self.added[-1])
        else:
            segment = segments[0]
        number = self._take_number()
        vectors = make_embeddings(segment.keys, segment.vectors, {})
        engine, metric = self.manifest.engine, self.manifest.metric
        path = self.line / f"{number:08d}.structure.faiss"
        key = segment.entry.files["vectors"].sha256
        file = build_structure(engine, path, vectors, metric, key)
        made = read_structure(path)
        settings = tune_structure(engine, made, vectors, metric)
        recall = _tell(settings) if settings else _measure(made, segment, self.manifest)
        self.structure = StructureEntry(engine, segment.entry.number, file, recall, settings)

    def commit(self) -> Manifest:
        """Make the change the present state."""
        kept: list[SegmentEntry] = []
        for number, segment in enumerate(self.view.segments):
            if number in self.absorbed:
                continue
            entry: SegmentEntry | None = segment.entry
            if number in self.dying:
                entry = write_dead(self.line, self._take_number(), segment, self.dying[number])
            kept += [entry] if entry else []
        kept += self.added
        numbers = {entry.number for entry in kept}
        structure = self.structure
        if structure and structure.segment not in numbers:
            structure = None
        generation = self.before.generation + 1
        self.replace(
            segments=tuple(kept),
            structure=structure,
            generation=generation,
            edited=generation if self.is_edited else self.before.edited,
        )
        self.manifest = retire(self.before, self.manifest)
        write_manifest(self.line, self.manifest)
        return self.manifest

    def _take_number(self) -> int:
        number = self.manifest.next
        self.replace(next=number + 1)
        return number

    def _rest(self, number: int) -> tuple[BytesArray, VectorArray, Columns]:
        """What a segment will still hold."""
        segment = self.view.segments[number]
        rows = np.setdiff1d(segment.live, self.dying.get(number, np.zeros(0, np.int64)))
        names = segment.column_names()
        columns = {
            name: column[rows] for name in names if (column := segment.column(name)) is not None
        }
        return segment.keys[rows], Picked(segment.vectors, rows), columns

    def _write(self, parts: Sequence[tuple[BytesArray, VectorArray, Columns]]) -> None:
        keys = np.concatenate([part[0] for part in parts])
        order = np.argsort(keys, kind="stable")
        vectors = Picked(Shards([part[1] for part in parts]), order)
        names = sorted({name for part in parts for name in part[2]})
        columns = {name: self._join(name, parts)[order] for name in names}
        number = self._take_number()
        dtype = self.manifest.dtype
        self.added.append(write_segment(self.line, number, keys[order], vectors, columns, dtype))

    def _join(
        self, name: str, parts: Sequence[tuple[BytesArray, VectorArray, Columns]]
    ) -> np.ndarray:
        kind = self.manifest.columns[name]
        return np.concatenate(
            [
                part[2][name] if name in part[2] else missing_column(kind, len(part[0]))
                for part in parts
            ]
        )

    def _group(self, rows: int) -> list[int]:
        """The segments that are written again together with `rows` new ones.

        Segments grow by steps; where one step has become full, its segments become one of the
        next. So every image is written again a few times, and there are never many segments.
        """
        base = self.structure.segment if self.structure else -1
        left = {
            number: len(segment) - len(self.dying.get(number, ()))
            for number, segment in enumerate(self.view.segments)
            if segment.entry.number != base
        }
        halved = [n for n, size in left.items() if 2 * size < self.view.segments[n].entry.rows]
        group, total = halved, rows + sum(left[number] for number in halved)
        while True:
            step = _step_of(total)
            more = [n for n, size in left.items() if n not in group and _step_of(size) <= step]
            if len(more) < (MOST if step else MOST_SMALL):
                return group
            group, total = [*group, *more], total + sum(left[number] for number in more)


def _step_of(rows: int) -> int:
    return max(0, 1 + math.floor(math.log(max(1, rows) / SMALL, STEP))) if rows >= SMALL else 0


def _tell(settings: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The recall that was measured when the settings were chosen, as `_measure` tells it."""
    few = settings[0]
    told = {"k": few["k"], "value": few["recall"]}
    return {**told, "queries": TUNED_WITH, "of": "stored images"}


def _measure(structure: Any, segment: Segment, manifest: Manifest) -> dict[str, Any]:
    """The recall of a structure: how many of the nearest images of some of its own it finds, the
    image itself not counted.
    """
    count = segment.entry.rows
    own = np.sort(np.random.default_rng(0).permutation(count)[:SAMPLE])
    whole = make_embeddings(segment.keys, segment.vectors, {})
    asked = make_embeddings(own.astype(str), np.asarray(segment.vectors[own], np.float32), {})
    depth = min(DEPTH + 1, count)
    metric = manifest.metric
    exact = nearest_in_order(asked, whole, depth, metric).rows
    vectors = check_vectors(asked, slice(0, len(own)), metric)
    proposed = propose(manifest.engine, structure, Query(vectors, depth, None))
    found = rescore_in_order(asked, whole, proposed, depth, metric)[0]
    right = [np.setdiff1d(rows, [one]) for rows, one in zip(exact, own, strict=True)]
    hits = [len(np.intersect1d(*pair)) for pair in zip(right, found, strict=True)]
    total = sum(map(len, right))
    value = round(sum(hits) / total, 6) if total else None
    return {"k": depth - 1, "value": value, "queries": len(own), "of": "stored images"}
