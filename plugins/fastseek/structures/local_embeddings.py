"""LocalEmbeddings: several vectors an image with their places, on disk a folder of mapped shards."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError, DataError, UsageError
from ..io.atomic import atomic
from ..io.digests import sha256
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from .archive import Provenance
from .arrays import IntArray, Shards, VectorArray
from .embeddings import save_ids
from .id_column import IdColumn
from .known_digests import check_digest
from .shard_files import MappedShard, Promise

FORMAT = "fastseek local embeddings 1"
MANIFEST = "manifest.json"
FP16, BINARY = "fp16", "binary"
HALF: np.dtype[Any] = np.dtype(np.float16)
DTYPES: dict[str, np.dtype[Any]] = {FP16: HALF, BINARY: np.dtype(np.uint8)}
PLACE = 3  # numbers of a token beside its vector: x, y and weight
IDS_ENTRY = {"file": str, "rows": int, "sha256": str}
SHARD_ENTRY = {
    "rows": int,
    **{
        f"{kind}_{key}": kind_of
        for kind in ("vectors", "places")
        for key, kind_of in (("file", str), ("bytes", int), ("sha256", str))
    },
}


class LocalShape(NamedTuple):
    """What a set of local embeddings holds of an image.

    Args:
        tokens: K, how many vectors.
        dim: D, numbers of a vector.
        bits: "fp16" or "binary", one bit a number.
    """

    tokens: int
    dim: int
    bits: str = FP16

    @property
    def width(self) -> int:
        """Numbers on disk of one vector; of bits their bytes."""
        return -(-self.dim // 8) if self.bits == BINARY else self.dim

    @property
    def image_bytes(self) -> int:
        """Bytes on disk of one image, its places included."""
        return self.tokens * (self.width * DTYPES[self.bits].itemsize + 2 * PLACE)

    def check(self) -> None:
        """Check that it can be.

        Raises:
            UsageError: it cannot.
        """
        if self.bits not in DTYPES or self.tokens < 1 or self.dim < 1:
            raise UsageError(
                f"local embeddings: bits must be fp16 or binary, tokens and dim 1 or more, got"
                f" {self.bits!r}, {self.tokens} and {self.dim}"
            )


class Tokens(NamedTuple):
    """The local features of some images.

    Args:
        vectors: [n, K, D] float32 of length 1; of bits +-1 / sqrt(D), so that a product is 1 - 2 *
            (share of bits that differ). A token of weight 0 is none, and zero.
        places: [n, K, 2] float32, x to the right and y down, 0 to 1 of what the model saw.
        weights: [n, K] float32, what a token counts; 0 where an image has fewer.
    """

    vectors: np.ndarray
    places: np.ndarray
    weights: np.ndarray

    def pick(self, row: int) -> Tokens:
        """Those of one image, the empty ones left out: [k, D], [k, 2] and [k]."""
        there = self.weights[row] > 0
        return Tokens(*(part[row][there] for part in self))


def pack_vectors(vectors: np.ndarray, bits: str) -> np.ndarray:
    """Vectors [n, K, D] as they stand on disk, [n, K * width] float16 or uint8.

    A bit is 1 where a number is above the mean of its vector.
    """
    rows = len(vectors)
    if bits == FP16:
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float16).reshape(rows, -1)
    above = vectors > vectors.mean(axis=2, keepdims=True)
    return np.packbits(above, axis=2).reshape(rows, -1)


@dataclasses.dataclass(frozen=True, eq=False)
class LocalEmbeddings:
    """Several vectors an image, read when they are asked for.

    Args:
        id_column: the ids of N images.
        packed: [N, K * width] float16 or uint8, see `pack_vectors`.
        located: [N, K * 3] float16: x, y and weight of every token.
        shape: what they hold of an image.
        provenance: what made them, as of `Embeddings`.

    Raises:
        DataError: the parts do not belong to one another.
    """

    id_column: IdColumn
    packed: VectorArray
    located: VectorArray
    shape: LocalShape
    provenance: Provenance = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shape.check()
        tokens, rows = self.shape.tokens, len(self.id_column)
        wanted = ((rows, tokens * self.shape.width), (rows, tokens * PLACE))
        found = (tuple(self.packed.shape), tuple(self.located.shape))
        if found != wanted or self.packed.dtype != DTYPES[self.shape.bits]:
            raise DataError(
                f"local embeddings of {rows} images, {tokens} tokens of {self.shape.dim} numbers:"
                f" expected arrays {wanted} of {DTYPES[self.shape.bits]}, got {found} of"
                f" {self.packed.dtype}"
            )

    @classmethod
    def of_tokens(
        cls,
        ids: Sequence[str] | np.ndarray,
        tokens: Tokens,
        bits: str = FP16,
        provenance: Mapping[str, Any] | None = None,
    ) -> LocalEmbeddings:
        """Local embeddings in memory.

        Args:
            ids: [N].
            tokens: of these images; their vectors may have any length.
            bits: how the vectors are kept.
            provenance: what made them.

        Raises:
            DataError: an id stands twice, or a number is not finite.
        """
        if not np.isfinite(tokens.vectors).all():
            raise DataError("local features are not finite: embed the images again")
        column = IdColumn.from_strings(ids)
        column.check_unique("local embeddings")
        shape = LocalShape(tokens.vectors.shape[1], tokens.vectors.shape[2], bits)
        packed = pack_vectors(tokens.vectors, bits)
        return cls(column, packed, pack_places(tokens), shape, provenance or {})

    def __len__(self) -> int:
        return len(self.id_column)

    def read(self, rows: np.ndarray) -> Tokens:
        """The tokens of some images, by number.

        Raises:
            DataError: a number is not finite; names the image. ArtefactError: a file was changed.
        """
        wanted, (tokens, dim, bits) = np.asarray(rows, np.int64), self.shape
        held = np.asarray(self.packed[wanted]).reshape(len(wanted), tokens, self.shape.width)
        located = np.asarray(self.located[wanted], np.float32).reshape(len(wanted), tokens, PLACE)
        if bits == BINARY:
            signs = np.unpackbits(held, axis=2, count=dim).astype(np.float32)
            vectors = (2 * signs - 1) / np.float32(np.sqrt(dim))
        else:
            vectors = held.astype(np.float32)
            lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
            vectors /= np.maximum(lengths, 1e-12)
        fine = np.isfinite(vectors).all(axis=(1, 2)) & np.isfinite(located).all(axis=(1, 2))
        if not fine.all():
            name = self.id_column[int(wanted[int((~fine).argmax())])]
            raise DataError(f"the local features of {name!r} are not finite: embed it again")
        weights = located[:, :, 2]
        return Tokens(vectors * (weights > 0)[:, :, None], located[:, :, :2], weights)

    def find(self, ids: np.ndarray) -> IntArray:
        """The row of every id, -1 where it is not there."""
        return self.id_column.find(ids)

    def save(self, folder: PathLike, rows: int = 8192) -> None:
        """Write shards of so many images, the ids, and last the manifest that makes them count."""
        folder = pathlib.Path(folder)
        (folder / MANIFEST).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        shards = [
            save_local_shard(
                folder,
                f"{start:09d}",
                np.asarray(self.packed[start : start + rows]),
                np.asarray(self.located[start : start + rows]),
            )
            for start in range(0, max(1, len(self)), rows)
        ]
        save_local_manifest(folder, shards, self.id_column, self.shape, self.provenance)

    @classmethod
    def load(cls, folder: PathLike) -> LocalEmbeddings:
        """Open a folder; its files are mapped, and compared with their hashes when first read.

        Raises:
            DataError: no local embeddings are there. ArtefactError: a file is missing, cut or
                changed.
        """
        folder = pathlib.Path(folder)
        page = _read_manifest(folder)
        shape = LocalShape(page["tokens"], page["dim"], page["bits"])
        shape.check()
        ids = folder / page["ids"]["file"]
        check_digest(ids, page["ids"]["sha256"])
        width, dtype = shape.tokens * shape.width, DTYPES[shape.bits]
        packed = _open_shards(folder, page["shards"], "vectors", width, dtype)
        located = _open_shards(folder, page["shards"], "places", shape.tokens * PLACE, HALF)
        column = IdColumn.load(ids)
        if len(column) != len(packed) or len(column) != len(located):
            raise ArtefactError(f"{folder}: {len(column)} ids for {len(packed)} images")
        return cls(column, packed, located, shape, page["passport"])


def pack_places(tokens: Tokens) -> np.ndarray:
    """Places and weights as they stand on disk, [n, K * 3] float16."""
    joined = np.concatenate([tokens.places, tokens.weights[:, :, None]], axis=2)
    return joined.astype(np.float16).reshape(len(joined), -1)


def save_local_shard(
    folder: pathlib.Path, name: str, packed: np.ndarray, located: np.ndarray
) -> dict[str, Any]:
    """Write the arrays of one shard and return its entry for the manifest."""
    entry: dict[str, Any] = {"rows": len(packed)}
    for kind, array in (("vectors", packed), ("places", located)):
        file = folder / f"{name}.{kind}.npy"
        with atomic(file) as out:
            np.save(out, array, allow_pickle=False)
        size = os.path.getsize(file)
        told = {"file": file.name, "bytes": size, "sha256": sha256(file)}
        entry.update({f"{kind}_{key}": value for key, value in told.items()})
    return entry


def save_local_manifest(
    folder: pathlib.Path,
    shards: Sequence[Mapping[str, Any]],
    ids: IdColumn,
    shape: LocalShape,
    provenance: Provenance,
) -> None:
    """Write the ids and the manifest of a folder whose shards are there already."""
    entry = save_ids(folder, ids)
    page = {"format": FORMAT, **shape._asdict(), "ids": entry, "shards": list(shards)}
    write_json(folder / MANIFEST, {**page, "passport": dict(provenance)})


def _read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """The manifest of a folder of local embeddings.

    Raises:
        DataError: there is none. ArtefactError: it is of something else, or not whole.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise DataError(
            f"{folder}: no local embeddings: expected the folder that `fastseek embed --locals 16`"
            " writes beside the vectors, OUT/locals"
        )
    page: Any = read_json(file)
    if not isinstance(page, dict) or page.get("format") != FORMAT:
        raise ArtefactError(
            f"{folder}: not local embeddings of this version: expected OUT/locals of"
            " `fastseek embed --locals 16`"
        )
    wanted = {"tokens": int, "dim": int, "bits": str, "ids": dict, "shards": list}
    if (
        not _is_entry(page, {**wanted, "passport": dict})
        or not _is_entry(page["ids"], IDS_ENTRY)
        or not page["shards"]
        or not all(_is_entry(shard, SHARD_ENTRY) for shard in page["shards"])
    ):
        raise ArtefactError(f"{file}: not a whole manifest")
    return page


def _is_entry(entry: Any, wanted: Mapping[str, type]) -> bool:
    """Whether an entry tells all, and names files of the folder: a manifest may be a stranger's."""
    if not isinstance(entry, dict):
        return False
    files = [entry.get(key) for key in wanted if key.endswith("file")]
    return all(isinstance(entry.get(key), kind) for key, kind in wanted.items()) and all(
        pathlib.PurePath(str(file)).name == file for file in files
    )


def _open_shards(
    folder: pathlib.Path,
    entries: Sequence[Mapping[str, Any]],
    kind: str,
    width: int,
    dtype: np.dtype[Any],
) -> Shards:
    """One of the two arrays of a folder, of which nothing is read."""
    shards = []
    for entry in entries:
        promise = Promise((entry["rows"], width), dtype, entry[f"{kind}_bytes"])
        file = str(folder / entry[f"{kind}_file"])
        shards.append(MappedShard(file, entry[f"{kind}_sha256"], promise))
    return Shards(shards)
