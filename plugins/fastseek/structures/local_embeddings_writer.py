"""Local features onto disk beside the vectors of the same images, in one pass that may be killed."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from .embeddings import SHARD_BYTES, Embeddings
from .id_column import IdColumn
from .local_embeddings import (
    LocalEmbeddings,
    LocalShape,
    Tokens,
    pack_places,
    pack_vectors,
    save_local_manifest,
    save_local_shard,
)

FOLDER = "locals"  # below the folder of the vectors
Batch = tuple[list[str], np.ndarray, Sequence[Any]]


class LocalBatch(NamedTuple):
    """A batch of images with their local features.

    Args:
        ids, vectors, rejects: as `store` takes them.
        tokens: of those that have an id.
    """

    ids: list[str]
    vectors: np.ndarray
    rejects: Sequence[Any]
    tokens: Tokens


@dataclasses.dataclass(frozen=True)
class LocalWriter:
    """Write local features while the vectors of the same images are stored.

    Those of a run of items are on the disk before the last vectors of the run are handed on, so
    that a shard of vectors that counts has its local features. A killed run goes on as `store` does.

    Args:
        folder: of the vectors; the local features lie in its folder "locals".
        bits: "fp16" or "binary".
    """

    folder: PathLike
    bits: str

    @property
    def place(self) -> pathlib.Path:
        """Where the local features lie."""
        return pathlib.Path(self.folder) / FOLDER

    def split(self, batches: Iterable[LocalBatch], runs: Sequence[range]) -> Iterator[Batch]:
        """Write the local features of batches and hand on the rest, as `store` takes it.

        Args:
            batches: in the order of the runs, none over the end of one.
            runs: of item numbers.
        """
        rest = iter(batches)
        for run in runs:
            at, start, held = run.start, run.start, list[LocalBatch]()
            while at < run.stop and (batch := next(rest, None)) is not None:
                held.append(batch)
                at += len(batch.ids) + len(batch.rejects)
                if at >= run.stop or sum(one.tokens.vectors.nbytes for one in held) > SHARD_BYTES:
                    self._write(start, at, held)
                    start, held = at, []
                yield batch.ids, batch.vectors, batch.rejects
        yield from (one[:3] for one in rest)

    def _write(self, start: int, stop: int, held: Sequence[LocalBatch]) -> None:
        """Write one piece: its arrays, then the JSON that makes it count."""
        self.place.mkdir(parents=True, exist_ok=True)
        ids: list[str] = []
        every: list[Tokens] = []
        for batch in held:
            good = np.flatnonzero(
                np.isfinite(batch.vectors).all(axis=1) & batch.vectors.any(axis=1)
            )  # the others join the rejects, see `store`
            if not len(good):
                continue
            ids += [batch.ids[row] for row in good.tolist()]
            every.append(Tokens(*(part[good] for part in batch.tokens)))
        name = f"{start:09d}"
        page: dict[str, Any] = {"start": start, "stop": stop, "ids": ids}
        if ids:
            tokens = Tokens(*(np.concatenate(parts) for parts in zip(*every, strict=True)))
            shape = LocalShape(tokens.vectors.shape[1], tokens.vectors.shape[2], self.bits)
            packed = pack_vectors(tokens.vectors, self.bits)
            page["entry"] = save_local_shard(self.place, name, packed, pack_places(tokens))
            page["shape"] = list(shape)
        write_json(self.place / f"{name}.json", page)

    def finish(self, stored: Embeddings) -> LocalEmbeddings:
        """Write the manifest, once all vectors are there.

        Args:
            stored: the whole embeddings.

        Raises:
            ArtefactError: local features are missing, or of other images.
        """
        pieces, at = [], 0
        for file in sorted(self.place.glob("[0-9]*.json")):
            page = read_json(file)
            if page["start"] == at:  # else left by a run that was cut otherwise
                pieces.append(page)
                at = page["stop"]
        ids = IdColumn.concatenate([IdColumn.from_strings(one["ids"]) for one in pieces])
        if ids.digest != stored.id_column.digest:
            raise ArtefactError(
                f"{self.place}: holds local features of {len(ids)} images, and the vectors beside"
                f" it are of {len(stored)}: embed into another folder"
            )
        full = [one for one in pieces if one["ids"]]
        shapes = {tuple(one["shape"]) for one in full}
        if len(shapes) != 1:
            raise ArtefactError(f"{self.place}: its shards differ in shape: embed anew")
        shape, entries = LocalShape(*shapes.pop()), [one["entry"] for one in full]
        save_local_manifest(self.place, entries, ids, shape, stored.provenance)
        return LocalEmbeddings.load(self.place)
