"""Embeddings: vectors with the names of their images, on disk a folder of memory-mapped shards."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, refuse_exhausted
from ..io.atomic import atomic
from ..io.digests import sha256
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from ._old_field_name import accept_old_field_name
from .archive import Provenance, check_open, describe_file, unique_ids
from .arrays import Shards, StringArray, VectorArray, Window
from .known_digests import check_digest
from .shard_files import MappedShard, map_array, read_checked

FORMAT = 1
# What the manifest tells of a shard.
ENTRY = {
    "rows": int,
    "ids": str,
    "vectors": str,
    "ids_sha256": str,
    "vectors_sha256": str,
}


@accept_old_field_name
@dataclasses.dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors with the names of their images.

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
        if not hasattr(self.vectors, "shape") or not hasattr(self.vectors, "dtype"):
            raise DataError(
                f"vectors must be an array [N, D] of floats, got {type(self.vectors).__name__}:"
                " numpy.asarray(vectors, numpy.float32)"
            )
        if len(self.vectors.shape) != 2 or self.vectors.dtype.kind != "f":
            raise DataError(
                f"vectors must be [N, D] floats, got {self.vectors.dtype} {self.vectors.shape}"
            )
        if len(self.ids) != len(self.vectors):
            raise DataError(f"{len(self.ids)} ids for {len(self.vectors)} vectors")

        if len(self.ids) and not self.dim:
            raise DataError("vectors of no numbers cannot be compared: embed the images again")
        if (self.ids == "").any():
            raise DataError("an id is empty: every image needs a name")

    def __len__(self) -> int:
        return len(self.ids)

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
                first = self.ids[start + int(bad.argmax())]
                raise DataError(
                    f"{int(bad.sum())} vectors are not finite in float32, the first is of"
                    f" {str(first)!r}: embed it again"
                )
            yield start, block

    def save(self, folder: PathLike, rows: int = 65536) -> None:
        """Write shards of `rows` vectors, and last the manifest that makes them count."""
        folder = pathlib.Path(folder)
        # What stood here before no longer counts.
        (folder / "manifest.json").unlink(missing_ok=True)
        shards = [
            save_shard(
                folder, number, self.ids[start : start + rows], self.vectors[start : start + rows]
            )
            for number, start in enumerate(range(0, max(len(self), 1), rows))
        ]
        save_manifest(folder, shards, self.provenance)

    @classmethod
    def load(cls, path: PathLike, verify: bool = False) -> Embeddings:
        """Open an embeddings folder, a bare .npy (row numbers become ids) or a .safetensors file,
        memory-mapped.

        Args:
            path: the folder or file.
            verify: whether all bytes of a folder are compared with their hashes now; else those of
                a shard are when it is first read. What was compared is remembered: `check_digest`.

        Raises:
            DataError: nothing readable is there, or no vectors; names the file.
            ArtefactError: a shard is missing, cut, of another size than its manifest says or
                changed, of its vectors with `verify` only.
            RunError: the process has too many files open.
        """
        path = pathlib.Path(path)
        with describe_file(path):
            if path.suffix in BARE:
                vectors = BARE[path.suffix](path)
                rows = sum(vectors.shape[:1])  # a single number has no rows
                return cls(np.arange(rows).astype(str), vectors)
            embeddings = cls(*_load_folder(path))
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
        for shard in _load_manifest(folder)["shards"]:
            for name in ("ids", "vectors"):
                check_digest(folder / shard[name], shard[f"{name}_sha256"], anew=anew)


def slice_embeddings(embeddings: Embeddings, start: int, stop: int) -> Embeddings:
    """Rows start to stop of some embeddings, the vectors not read."""
    stop = min(stop, len(embeddings))
    return Embeddings(
        embeddings.ids[start:stop], Window(embeddings.vectors, start, stop), embeddings.provenance
    )


def save_shard(
    folder: pathlib.Path, number: int, ids: StringArray, vectors: np.ndarray
) -> dict[str, Any]:
    """Write one shard and return its entry for the manifest."""
    entry: dict[str, Any] = {"rows": len(ids)}
    for name, array in (("ids", np.asarray(ids, str)), ("vectors", np.asarray(vectors))):
        file = folder / f"{number:05d}.{name}.npy"
        with atomic(file) as out:
            np.save(out, array, allow_pickle=False)
        entry |= {name: file.name, f"{name}_sha256": sha256(file)}
    return entry


def save_manifest(
    folder: pathlib.Path, shards: list[dict[str, Any]], provenance: Provenance
) -> None:
    """Write the manifest of an embeddings folder; before it exists the folder is not one."""
    write_json(
        folder / "manifest.json", {"format": FORMAT, "shards": shards, "passport": dict(provenance)}
    )


def _load_folder(folder: pathlib.Path) -> tuple[StringArray, Shards, Provenance]:
    """Ids, vectors and provenance."""
    manifest = _load_manifest(folder)
    loaded = [_load_shard(folder, shard) for shard in manifest["shards"]]
    if len({(part[1].shape[1:], part[1].dtype) for part in loaded}) != 1:
        raise ArtefactError(f"{folder}: the shards differ in dimension or type: make it anew")
    ids = np.concatenate([part[0] for part in loaded])
    return ids, Shards([part[1] for part in loaded]), manifest["passport"]


def _load_manifest(folder: pathlib.Path) -> dict[str, Any]:
    if folder.is_file():
        raise DataError(f"{folder}: {EXPECTED}")
    try:
        manifest: Any = read_json(folder / "manifest.json")
    except DataError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise DataError(f"{error}: {EXPECTED}") from error
    written = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or written != FORMAT:
        raise ArtefactError(
            f"{folder}: embeddings of format {written}, this version reads {FORMAT}"
        )
    shards, provenance = manifest.get("shards"), manifest.get("passport")
    if (
        not isinstance(shards, list)
        or not all(map(_is_entry, shards))
        or not isinstance(provenance, dict)
    ):
        raise ArtefactError(f"{folder / 'manifest.json'}: not a whole manifest")
    return manifest


def _is_entry(shard: Any) -> bool:
    """Whether an entry tells all, and names files of the folder: a manifest may be a stranger's."""
    return (
        isinstance(shard, dict)
        and all(isinstance(shard.get(key), kind) for key, kind in ENTRY.items())
        and all(pathlib.PurePath(shard[name]).name == shard[name] for name in ("ids", "vectors"))
    )


def _load_shard(folder: pathlib.Path, shard: Mapping[str, Any]) -> tuple[StringArray, MappedShard]:
    """The ids, compared with their hash, and the vectors, which are not read yet."""
    ids_file, vectors_file = (os.path.join(folder, shard[name]) for name in ("ids", "vectors"))
    ids = read_checked(ids_file, shard["ids_sha256"])
    if ids.dtype.kind != "U" or ids.ndim != 1:
        raise ArtefactError(f"{ids_file}: {ids.dtype} {ids.shape} are no ids: make it anew")
    vectors = MappedShard(vectors_file, shard["vectors_sha256"])
    if not len(ids) == len(vectors) == shard["rows"]:
        raise ArtefactError(
            f"{vectors_file}: {len(vectors)} rows, the manifest says {shard['rows']}"
        )
    return ids, vectors


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
EXPECTED = (
    f"expected a folder of embeddings, a {' or a '.join(BARE)} file; images are embedded first"
    " (`fastseek embed`), and the vectors in an .npz or .pt file are saved alone as .npy"
)
