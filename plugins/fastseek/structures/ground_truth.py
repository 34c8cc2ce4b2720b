"""GroundTruth: what is relevant to every query and what is junk."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..io.paths import PathLike
from .archive import (
    Provenance,
    describe_file,
    load_npz,
    save_npz,
    strings,
    unique_ids,
    whole_numbers,
)
from .arrays import IntArray, StringArray
from .identity import ONE_ROOT, ROW_NUMBERS, file_name
from .item import Item

_TRUTH = (
    "query_ids",
    "gallery_ids",
    "relevant_starts",
    "relevant",
    "junk_starts",
    "junk",
    "query_labels",
    "gallery_labels",
)


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledSide:
    """Queries or gallery as their labels tell of them.

    Args:
        ids: [N] strings, no one twice.
        labels: [N] strings, "" where an image has no class.
        groups: [N] cameras or sessions, "" where unknown; all unknown when None.
        names: [N] what an image is known by on both sides (see `identity`); the ids when None.
    """

    ids: Sequence[str] | StringArray
    labels: Sequence[str] | StringArray
    groups: Sequence[str] | StringArray | None = None
    names: Sequence[str] | StringArray | None = None

    @classmethod
    def from_items(cls, items: Sequence[Item]) -> LabeledSide:
        """The columns of items; they are known by their files."""
        return cls(
            [item.id for item in items],
            [item.label for item in items],
            [item.group for item in items],
            [file_name(item) for item in items],
        )

    def columns(self) -> tuple[StringArray, StringArray, StringArray, StringArray]:
        """Ids, labels, groups and names as arrays."""
        ids = np.asarray(self.ids, str)
        groups = np.full(len(ids), "") if self.groups is None else np.asarray(self.groups, str)
        names = ids if self.names is None else np.asarray(self.names, str)
        return ids, np.asarray(self.labels, str), groups, names


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth:
    """What is relevant and what is junk for every query, as row lists (CSR). Only `metrics` opens
    it.

    Args:
        query_ids, gallery_ids: [Q], [G] strings.
        relevant_starts, relevant: relevant gallery rows of query q are relevant[starts[q]:starts[q
            + 1]], rising.
        junk_starts, junk: rows that count neither as right nor as wrong, likewise.
        query_labels, gallery_labels: [Q], [G] strings, "" where an image has no class.
        protocol: how relevance was decided, told beside every score.

    Raises:
        DataError: lengths differ or a row is outside the gallery.
    """

    query_ids: StringArray
    gallery_ids: StringArray
    relevant_starts: IntArray
    relevant: IntArray
    junk_starts: IntArray
    junk: IntArray
    query_labels: StringArray
    gallery_labels: StringArray
    protocol: Provenance = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("query_ids", "gallery_ids"):
            put(self, name, unique_ids(getattr(self, name), name))
        for name, owner in (("query_labels", self.query_ids), ("gallery_labels", self.gallery_ids)):
            put(self, name, strings(getattr(self, name), name))
            if len(getattr(self, name)) != len(owner):
                raise DataError(f"{len(getattr(self, name))} {name} for {len(owner)} images")
        for name in ("relevant", "junk"):
            self._check_lists(name)

    def _check_lists(self, name: str) -> None:
        starts, rows = (whole_numbers(getattr(self, key), key) for key in (f"{name}_starts", name))
        if not starts.ndim == rows.ndim == 1:
            raise DataError(
                f"{name}: starts {starts.shape} and rows {rows.shape} must both be lists"
            )
        object.__setattr__(self, f"{name}_starts", starts)
        object.__setattr__(self, name, rows)
        whole = (
            len(starts) == len(self.query_ids) + 1 and starts[0] == 0 and starts[-1] == len(rows)
        )
        if not whole or (np.diff(starts) < 0).any():
            raise DataError(
                f"{name}: {len(starts)} starts and {len(rows)} rows for {len(self.query_ids)}"
                " queries"
            )
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self.gallery_ids):
            raise DataError(f"{name}: a row is outside the gallery of {len(self.gallery_ids)}")

    @classmethod
    def from_labels(
        cls,
        query_ids: Sequence[str],
        query_labels: Sequence[str],
        gallery_ids: Sequence[str],
        gallery_labels: Sequence[str],
        query_groups: Sequence[str] | None = None,
        gallery_groups: Sequence[str] | None = None,
        shared: bool = True,
    ) -> GroundTruth:
        """Relevant = same label; junk = the query itself, and with groups the same label in the
        same group.

        An image without label ("") is relevant to nothing; a query without label has no answer. A
        group of "" is unknown and makes no junk. `shared` is whether one id on both sides is one
        image; `from_sides` tells it image by image.
        """
        return cls.from_sides(
            LabeledSide(query_ids, query_labels, query_groups),
            LabeledSide(gallery_ids, gallery_labels, gallery_groups),
            ONE_ROOT if shared else ROW_NUMBERS,
        )

    @classmethod
    def from_sides(
        cls, queries: LabeledSide, gallery: LabeledSide, self_match: str = ONE_ROOT
    ) -> GroundTruth:
        """Relevant = same label; junk = the query itself, and with groups the same label in the
        same group.

        Args:
            queries, gallery: ids, labels, groups and names; equal names on both sides are one image.
            self_match: what the protocol tells of the query itself; anything but "junk" means that
                no image stands on both sides.
        """
        q_ids, q_labels, q_groups, q_names = queries.columns()
        g_ids, g_labels, g_groups, g_names = gallery.columns()
        shared = self_match == ONE_ROOT
        relevant, junk = [], []
        for row, rows in enumerate(_same_label(q_labels, g_labels)):
            out = (g_groups[rows] == q_groups[row]) & (q_groups[row] != "")
            if shared:
                out |= g_names[rows] == q_names[row]
            relevant.append(rows[~out])
            junk.append(rows[out])
        protocol = {
            "relevant": "same label",
            "camera_rule": bool((q_groups != "").any() and (g_groups != "").any()),
            "self_match": self_match,
        }
        return cls(q_ids, g_ids, *_csr(relevant), *_csr(junk), q_labels, g_labels, protocol)

    @classmethod
    def from_items(cls, queries: Sequence[Item], gallery: Sequence[Item]) -> GroundTruth:
        """Relevance by label, with the groups of the items; a query is itself where the gallery
        has its file.
        """
        return cls.from_sides(LabeledSide.from_items(queries), LabeledSide.from_items(gallery))

    @classmethod
    def from_lists(
        cls,
        queries: LabeledSide,
        gallery: LabeledSide,
        relevant: Sequence[Sequence[int] | np.ndarray],
        junk: Sequence[Sequence[int] | np.ndarray] = (),
    ) -> GroundTruth:
        """What lists of a benchmark say, whatever the labels are.

        Args:
            queries, gallery: their ids and labels are told, no rule is drawn from them.
            relevant, junk: for each query the rows of the gallery, in any order; no junk where
                nothing is given.
        """
        q_ids, q_labels, _, _ = queries.columns()
        g_ids, g_labels, _, _ = gallery.columns()
        right, out = (
            _csr([np.unique(np.asarray(rows, np.int64)) for rows in lists])
            for lists in (relevant, junk or [[] for _ in relevant])
        )
        told = {"relevant": "listed"} | ({"junk": "listed"} if len(out[1]) else {})
        return cls(q_ids, g_ids, *right, *out, q_labels, g_labels, told)

    def subset(self, rows: Sequence[int] | np.ndarray) -> GroundTruth:
        """What is relevant to some of the queries, by their numbers, over the same gallery."""
        numbers = np.asarray(rows, np.int64)
        return GroundTruth(
            self.query_ids[numbers],
            self.gallery_ids,
            *_csr([self.relevant_to(row) for row in numbers.tolist()]),
            *_csr([self.junk_of(row) for row in numbers.tolist()]),
            self.query_labels[numbers],
            self.gallery_labels,
            self.protocol,
        )

    def relevant_to(self, query: int) -> np.ndarray:
        """Rows of the gallery that answer query number `query`, rising."""
        return self.relevant[self.relevant_starts[query] : self.relevant_starts[query + 1]]

    def junk_of(self, query: int) -> np.ndarray:
        """Rows of the gallery that are left out for query number `query`, rising."""
        return self.junk[self.junk_starts[query] : self.junk_starts[query + 1]]

    def fingerprint(self) -> str:
        """SHA-256 of what is relevant to whom, whatever the order of queries and gallery."""
        state = hashlib.sha256()
        for row in np.argsort(self.query_ids, kind="stable").tolist():
            right = np.sort(self.gallery_ids[self.relevant_to(row)]).tolist()
            line = "\0".join([str(self.query_ids[row]), *right])
            state.update(f"{line}\n".encode("utf-8", "surrogateescape"))
        return state.hexdigest()

    def save(self, path: PathLike) -> None:
        """Write an .npz."""
        save_npz(path, self, _TRUTH, self.protocol)

    @classmethod
    def load(cls, path: PathLike) -> GroundTruth:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or not a truth. ArtefactError: it is damaged.
        """
        arrays, protocol = load_npz(path, _TRUTH)
        with describe_file(path):
            return cls(protocol=protocol, **arrays)


def _same_label(queries: np.ndarray, gallery: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(gallery, kind="stable")
    left = np.searchsorted(gallery[order], queries, side="left")
    right = np.searchsorted(gallery[order], queries, side="right")
    return [
        order[a:b] if label else order[:0] for a, b, label in zip(left, right, queries, strict=True)
    ]


def _csr(rows: list[np.ndarray]) -> tuple[IntArray, IntArray]:
    starts = np.cumsum([0] + [len(row) for row in rows])
    return starts, np.concatenate(rows) if rows else np.empty(0, np.int64)
