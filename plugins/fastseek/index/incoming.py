"""Images on their way into an index: checked, and in the order of their ids."""

from __future__ import annotations

import hashlib
import math
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, UsageError, shorten
from ..knn.vectors import blocks, check_vectors
from ..structures import Embeddings
from ..structures.archive import Provenance, unique_ids
from ..structures.arrays import Picked, StringArray
from ..structures.provenance import KEYS, check_same_model, join_engines
from .columns import RESERVED, Columns, Metadata, encode_columns, kind_of_column
from .draft import Draft
from .manifest import Manifest
from .names import encode_names
from .segment import ROWS
from .view import Places, View


class Given:
    """Images on their way into an index, in the order of their ids.

    Raises:
        DataError: the ids are not unique, or the vectors no [N, D] floats.
    """

    def __init__(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None,
        provenance: Provenance | None,
    ) -> None:
        array = vectors if hasattr(vectors, "shape") else np.asarray(vectors, np.float32)
        if array.dtype.kind in "iub":
            array = np.asarray(array, np.float32)
        self.ids = unique_ids(ids, "images")
        self.embeddings = Embeddings(self.ids, array, make_plain(provenance or {}))
        keys = encode_names(self.ids, "id")
        self.order = np.argsort(keys, kind="stable")
        self.keys, self.metadata = keys[self.order], dict(metadata or {})

    def keep(self, view: View, places: Places, lost: Collection[str] = RESERVED) -> None:
        """Keep what is known of images that are there, in columns that are not given.

        Args:
            view: the present state.
            places: where the images are in it.
            lost: columns that are not kept: of other vectors neither file nor content is known.
        """
        known = np.flatnonzero(places.segments >= 0)
        there = Places(places.segments[known], places.rows[known])
        for name in view.manifest.columns if len(known) else ():
            if name not in self.metadata and name not in lost:
                values: list[Any] = [None] * len(self.keys)
                for row, value in zip(self.order[known], view.column(name, there), strict=True):
                    values[row] = value
                self.metadata[name] = values

    def put(self, draft: Draft, folder: pathlib.Path) -> None:
        """Check the images against an index, and write them."""
        manifest, given = draft.manifest, self.embeddings
        mine = stand_in(manifest, given.dim)
        check_same_model(given, mine, "images", f"index {folder}")
        _check_name(given.provenance, manifest.provenance, folder)
        self._check_vectors(manifest)
        columns = encode_columns(self.metadata, self.ids, manifest.columns)
        kinds = {name: kind_of_column(column) for name, column in columns.items()}
        draft.replace(
            dim=given.dim,
            columns={**manifest.columns, **kinds},
            provenance=merge_provenances(
                manifest.provenance, given.provenance, first=not manifest.dim
            ),
        )
        ordered = {name: column[self.order] for name, column in columns.items()}
        draft.put(self.keys, Picked(given.vectors, self.order), ordered)

    def _check_vectors(self, manifest: Manifest) -> None:
        given = self.embeddings
        if not given.dim:
            raise DataError("vectors of no numbers cannot be compared")
        for start in range(0, len(given), ROWS):
            here = slice(start, start + ROWS)
            with np.errstate(over="ignore"):  # told below
                block = np.asarray(given.vectors[here]).astype(manifest.dtype)
            part = Embeddings(given.ids[here], block)
            check_vectors(part, slice(0, len(part)), manifest.metric)


def stand_in(manifest: Manifest, dim: int = 0) -> Embeddings:
    """No images, of the provenance and dimension of an index; of `dim` while it has none."""
    vectors = np.zeros((0, manifest.dim or dim), np.float32)
    return Embeddings(np.zeros(0, str), vectors, manifest.provenance)


def make_plain(provenance: Provenance) -> dict[str, Any]:
    """A provenance as it comes back from JSON: numbers of numpy as numbers, tuples as lists, what
    JSON does not know, such as the version of torch, as its text.

    Raises:
        DataError: a number is not finite, which JSON cannot hold.
    """
    return {str(key): _make_plain(value, str(key)) for key, value in provenance.items()}


def _make_plain(value: Any, key: str) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return _make_plain(value.tolist(), key)
    if isinstance(value, Mapping):
        return {str(name): _make_plain(one, key) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_make_plain(one, key) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{key!r} of the provenance is {value}: only finite numbers can be stored")
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _check_name(given: Provenance, told: Provenance, folder: pathlib.Path) -> None:
    """Refuse a model of another name, where no hash of its weights says that it is the same."""
    both = [str(side.get("name", "")) for side in (given, told)]
    if "model" in given and "model" in told or not all(both):
        return
    if _spell_in_full(both[0]) != _spell_in_full(both[1]):
        raise ArtefactError(
            f"{folder}: is made for the model {both[1]}, and the images are of {both[0]}: embed"
            " them with the model of the index, or put them into another index"
        )


def _spell_in_full(name: str) -> list[str]:
    """A model's name, its files by their whole paths."""
    return [os.path.abspath(part) for part in name.removeprefix("run:").split("@")]


def merge_provenances(told: Provenance, given: Provenance, first: bool) -> dict[str, Any]:
    """What an index tells of its vectors after more of them.

    What it tells already stays, and what it lacks is taken over; the root is told while all images
    have the same, and every engine that ran the model.

    Args:
        told: by the index.
        given: with the new vectors; they fit.
        first: whether there were no vectors yet.
    """
    if first:
        name = {"name": given["name"]} if "name" in given else {}
        return {**given, **told, **name}
    made = dict(told)
    for key in (*KEYS, "name"):
        if key in given:
            made.setdefault(key, given[key])
    if told.get("root") != given.get("root"):
        made.pop("root", None)
    return {**made, **join_engines(told, given)}


def as_queries(queries: Any) -> Embeddings:
    """Embeddings as they are; bare vectors [Q, D] with their row numbers as ids, where a single one
    [D] is a query too.
    """
    if isinstance(queries, Embeddings):
        return queries
    array = np.atleast_2d(np.asarray(queries, np.float32))
    return Embeddings(np.arange(len(array)).astype(str), array)


def digest_arrival(given: Embeddings, columns: Columns, metric: str) -> str:
    """The SHA-256 of images, their vectors and their metadata, which are all checked on the way.

    Raises:
        DataError: a vector cannot be stored; names its id.
    """
    made = hashlib.sha256(f"{len(given)} {given.dim} {metric}".encode())
    for here, block in blocks(given, metric, ROWS):
        made.update("\n".join(given.ids[here].tolist()).encode("utf-8", "surrogatepass"))
        made.update(block.tobytes())
    for name in sorted(columns):
        made.update(f"{name} {columns[name].dtype}".encode())
        made.update(columns[name].tobytes())
    return made.hexdigest()


def refuse_known(name: str | os.PathLike[str], known: Sequence[str], total: int) -> DataError:
    """The error of images that are there already."""
    return DataError(
        f"{name}: {len(known)} of {total} images are there already, such as"
        f" {shorten(known[0])!r}: upsert replaces them"
    )


def check_list(ids: Any) -> None:
    """Refuse one text where ids are wanted: its letters would be taken for them.

    Raises:
        UsageError: it is a text.
    """
    if isinstance(ids, str):
        raise UsageError(f"delete takes a list of ids, got the text {shorten(ids)!r}")
