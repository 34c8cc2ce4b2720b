"""Embeddings: vectors with the names of their images, on disk a folder of memory-mapped shards."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, UsageError, refuse_exhausted
from ..io.atomic import atomic
from ..io.digests import sha256
from ..io.paths import PathLike
from ..io.remote_folder import is_address
from ._old_field_name import accept_old_field_name
from .archive import Provenance, check_open, describe_file, unique_ids
from .arrays import Shards, StringArray, VectorArray, Window
from .embeddings_manifest import FORMAT, files_of, read_manifest, save_manifest
from .id_column import IdColumn
from .known_digests import check_digest
from .remote_copy import fetch_embeddings
from .shard_files import MappedShard, Promise, map_array, read_checked, shards_under

FLOATS = ("float16", "float32", "float64")
IDS = "ids.safetensors"
SHARD_BYTES = 128 << 20  # of the vectors of a shard, about
FEW = 65536  # ids that are as well held as strings
SHARD_ROWS = 65536  # a shard of short vectors has no more


@accept_old_field_name
@dataclasses.dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors with the names of their images.

    The ids of a folder are read when they are asked for: `ids` holds them as numpy's strings,
    `id_column` as the mapped file, which is all that a few of many millions need.

    Args:
        ids: [N] strings, no one twice.
        vectors: [N, D] float32 or float16, in memory or not: see `VectorArray`.
        provenance: what made them (model, preprocessing, views, versions, parents); {} when unknown.

    Raises:
        DataError: lengths differ, an id stands twice or is empty, or the vectors are not [N, D] floats of one
            number or more.
    """

    ids: StringArray
    vectors: VectorArray
    provenance: Provenance = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", unique_ids(self.ids, "embeddings"))
        self._check_vectors()
        if len(self.ids) != len(self.vectors):
            raise DataError(f"{len(self.ids)} ids for {len(self.vectors)} vectors")
        if (self.ids == "").any():
            raise DataError("an id is empty: every image needs a name")

    def _check_vectors(self) -> None:
        if not hasattr(self.vectors, "shape") or not hasattr(self.vectors, "dtype"):
            raise DataError(
                f"vectors must be an array [N, D] of floats, got {type(self.vectors).__name__}:"
                " numpy.asarray(vectors, numpy.float32)"
            )
        if len(self.vectors.shape) != 2 or self.vectors.dtype.kind != "f":
            raise DataError(
                f"vectors must be [N, D] floats, got {self.vectors.dtype} {self.vectors.shape}"
            )
        if len(self.vectors) and not self.dim:
            raise DataError("vectors of no numbers cannot be compared: embed the images again")

    @classmethod
    def _of_column(
        cls, column: StoredIds, vectors: VectorArray, provenance: Provenance
    ) -> Embeddings:
        """Embeddings whose ids are known to be unique, and need not be read."""
        made = cls.__new__(cls)
        for name, value in (("vectors", vectors), ("provenance", provenance), ("_stored", column)):
            object.__setattr__(made, name, value)
        made._check_vectors()
        return made

    def __getattr__(self, name: str) -> Any:
        # Asked for what is not there yet: the ids of a column.
        if name != "ids" or "_stored" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        ids = self.id_column[:]
        object.__setattr__(self, "ids", ids)
        return ids

    @property
    def id_column(self) -> IdColumn:
        """The ids as letters and offsets; of a folder its mapped file, compared with its hash.

        Raises:
            ArtefactError: the file was changed.
        """
        known: IdColumn | None = self.__dict__.get("_column")
        if known is None:
            stored = self.__dict__.get("_stored")
            known = IdColumn.from_strings(self.ids) if stored is None else stored.checked()
            object.__setattr__(self, "_column", known)
        return known

    @property
    def known_ids(self) -> StringArray | IdColumn:
        """The ids as they are at hand: strings, or of a large folder, while nobody has asked for
        these, its mapped file.
        """
        if "ids" not in self.__dict__ and len(self) > FEW:
            return self.id_column
        return self.ids

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return int(self.vectors.shape[1])

    def blocks(self, rows: int = 65536) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row number, float32 block of at most `rows` rows), checked to be finite.

        Raises:
            DataError: a vector holds NaN or infinity; names its id.
        """
        for start in range(0, len(self), rows):
            with np.errstate(over="ignore"):  # told below
                block = np.asarray(self.vectors[start : start + rows], np.float32)
            bad = ~np.isfinite(block).all(axis=1)
            if bad.any():
                first = self.id_column[start + int(bad.argmax())]
                raise DataError(
                    f"{int(bad.sum())} vectors are not finite in float32, the first is of"
                    f" {first!r}: embed it again"
                )
            yield start, block

    def save(self, folder: PathLike, rows: int = 0) -> None:
        """Write shards of `rows` vectors (0: as many as make `SHARD_BYTES`), the ids, and last the
        manifest that makes them count.

        Raises:
            UsageError: these embeddings are read from that folder, and would be lost.
        """
        folder = pathlib.Path(folder)
        self._refuse_own(folder)
        # What stood here before no longer counts.
        (folder / "manifest.json").unlink(missing_ok=True)
        rows = rows or rows_of_bytes(self.dim * self.vectors.dtype.itemsize)
        shards = [
            save_shard(folder, shard_name(number), self.vectors[start : start + rows])
            for number, start in enumerate(range(0, max(len(self), 1), rows))
        ]
        self.id_column.check_unique("embeddings")  # which its file tells from then on
        save_manifest(folder, shards, save_ids(folder, self.id_column), self.provenance)

    def _refuse_own(self, folder: pathlib.Path) -> None:
        """Refuse the folder whose shards the vectors are: they are not read before they are written."""
        place = os.path.realpath(folder)
        folders = {os.path.dirname(file) for file in shards_under(self.vectors)}
        if any(os.path.realpath(one) == place for one in folders):
            raise UsageError(
                f"{folder}: these embeddings are read from there and would be lost: name another folder"
            )

    @classmethod
    def load(cls, path: PathLike, verify: bool = False) -> Embeddings:
        """Open an embeddings folder, a bare .npy (row numbers become ids) or a .safetensors file,
        memory-mapped.

        Args:
            path: the folder or file; or the address of a folder, which is read into a cache.
            verify: whether all bytes of a folder are compared with their hashes now; else those of
                a shard are when it is first read. What was compared is remembered: `check_digest`.

        Raises:
            DataError: nothing readable is there, or no vectors; names the file.
            ArtefactError: a shard is missing, cut, of another size than its manifest says or
                changed, of its vectors with `verify` only.
            RunError: the process has too many files open.
        """
        path = pathlib.Path(fetch_embeddings(str(path)) if is_address(path) else path)
        with describe_file(path):
            if path.suffix in BARE:
                vectors = BARE[path.suffix](path)
                rows = sum(vectors.shape[:1])  # a single number has no rows
                return cls(np.arange(rows).astype(str), vectors)
            embeddings = _load_folder(path)
        if verify:
            embeddings.verify(path)
        return embeddings

    def verify(self, folder: PathLike, anew: bool = False) -> None:
        """Compare every file in `folder` with the hash in its manifest.

        Args:
            folder: where these embeddings were loaded from.
            anew: whether files are read again that this or an earlier command has compared; a disk
                may lose what nobody has changed.

        Raises:
            ArtefactError: a file was changed; names it.
        """
        folder = pathlib.Path(folder)
        for name, digest in files_of(read_manifest(folder)).items():
            check_digest(folder / name, digest, anew=anew)


@dataclasses.dataclass(frozen=True)
class StoredIds:
    """The ids of a folder, or a run of them: opened, and not read before `checked` is asked for.

    Args:
        whole: all of them.
        files: those they were read from, each with its hash.
        start, stop: the rows.
    """

    whole: IdColumn
    files: Mapping[str, str]
    start: int
    stop: int

    def checked(self) -> IdColumn:
        """The ids, after the files were compared with their hashes."""
        for path, digest in self.files.items():
            check_digest(path, digest)
        return self.whole.part(self.start, self.stop)

    def part(self, start: int, stop: int) -> StoredIds:
        """A run of the run."""
        return dataclasses.replace(self, start=self.start + start, stop=self.start + stop)


def slice_embeddings(embeddings: Embeddings, start: int, stop: int) -> Embeddings:
    """Rows start to stop of some embeddings, the vectors not read."""
    stop = min(stop, len(embeddings))
    vectors = Window(embeddings.vectors, start, stop)
    stored = embeddings.__dict__.get("_stored")
    if stored is None:
        return Embeddings(embeddings.ids[start:stop], vectors, embeddings.provenance)
    return Embeddings._of_column(stored.part(start, stop), vectors, embeddings.provenance)


def rows_of_bytes(row: int) -> int:
    """How many rows of so many bytes a shard has."""
    return max(1, min(SHARD_ROWS, SHARD_BYTES // max(1, row)))


def shard_name(number: int) -> str:
    """What the names of a shard's files begin with."""
    return f"{number:05d}"


def save_shard(folder: pathlib.Path, name: str, vectors: np.ndarray) -> dict[str, Any]:
    """Write the vectors of one shard and return its entry for the manifest."""
    file = folder / f"{name}.vectors.npy"
    vectors = np.asarray(vectors)
    with atomic(file) as out:
        np.save(out, vectors, allow_pickle=False)
    return {
        "rows": len(vectors),
        "dim": vectors.shape[1],
        "dtype": vectors.dtype.name,
        "bytes": file.stat().st_size,
        "vectors": file.name,
        "vectors_sha256": sha256(file),
    }


def save_ids(folder: pathlib.Path, ids: IdColumn, name: str = IDS) -> dict[str, Any]:
    """Write the ids of all shards and return their entry for the manifest."""
    ids.save(folder / name)
    return {"rows": len(ids), "file": name, "sha256": sha256(folder / name)}


def _load_folder(folder: pathlib.Path) -> Embeddings:
    manifest = read_manifest(folder)
    load = _load_ids if manifest["format"] == FORMAT else _load_old_ids
    shards = [_load_shard(folder, shard) for shard in manifest["shards"]]
    if len({(shard.shape[1:], shard.dtype) for shard in shards}) != 1:
        raise ArtefactError(f"{folder}: the shards differ in dimension or type: make it anew")
    vectors, ids = Shards(shards), load(folder, manifest)
    if isinstance(ids, StoredIds):
        if len(vectors) != ids.stop:
            raise ArtefactError(f"{folder}: {ids.stop} ids for {len(vectors)} vectors")
        return Embeddings._of_column(ids, vectors, manifest["passport"])
    return Embeddings(ids, vectors, manifest["passport"])


def _load_ids(folder: pathlib.Path, manifest: Mapping[str, Any]) -> StoredIds:
    entry = manifest["ids"]
    path = os.path.join(folder, entry["file"])
    try:
        column = IdColumn.load(path)
    except DataError as error:
        if os.path.exists(path):
            raise
        raise ArtefactError(f"{path}: is in the manifest and not on disk") from error
    if len(column) != entry["rows"]:
        raise ArtefactError(f"{path}: {len(column)} ids, the manifest says {entry['rows']}")
    return StoredIds(column, {path: entry["sha256"]}, 0, len(column))


def _load_old_ids(folder: pathlib.Path, manifest: Mapping[str, Any]) -> StringArray:
    """The ids of a folder of format 1, compared with their hashes."""
    found = []
    for shard in manifest["shards"]:
        path = os.path.join(folder, shard["ids"])
        ids = read_checked(path, shard["ids_sha256"])
        if ids.dtype.kind != "U" or ids.ndim != 1:
            raise ArtefactError(f"{path}: {ids.dtype} {ids.shape} are no ids: make it anew")
        if len(ids) != shard["rows"]:
            raise ArtefactError(f"{path}: {len(ids)} ids, the manifest says {shard['rows']}")
        found.append(ids)
    return np.concatenate(found)


def _load_shard(folder: pathlib.Path, shard: Mapping[str, Any]) -> MappedShard:
    """The vectors of a shard, of which nothing is read but, in format 1, the header."""
    path = os.path.join(folder, shard["vectors"])
    made = MappedShard(path, shard["vectors_sha256"], _promised(shard))
    if len(made) != shard["rows"]:
        raise ArtefactError(f"{path}: {len(made)} rows, the manifest says {shard['rows']}")
    return made


def _promised(shard: Mapping[str, Any]) -> Promise | None:
    """What the manifest says of the vectors, None in format 1, which does not."""
    if "bytes" not in shard:
        return None
    if shard["dtype"] not in FLOATS:
        raise ArtefactError(f"{shard['vectors']}: {shard['dtype']} are no vectors: make it anew")
    return Promise((shard["rows"], shard["dim"]), np.dtype(shard["dtype"]), shard["bytes"])


def _load_safetensors(path: pathlib.Path) -> np.ndarray:
    from safetensors.numpy import load_file

    check_open(path)
    try:
        arrays = load_file(path)
    except TypeError as error:
        raise DataError(
            f"{path}: numbers that numpy cannot read ({error}): save them as float16 or float32"
        ) from error
    except MemoryError:
        raise
    except Exception as error:
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: not a whole .safetensors file ({error})") from error
    if len(arrays) != 1:
        raise DataError(f"{path}: expected one tensor [N, D], found {sorted(arrays)}")
    vectors: np.ndarray = next(iter(arrays.values()))
    return vectors


# Files of vectors alone: row numbers become their ids.
BARE = {".npy": map_array, ".safetensors": _load_safetensors}
