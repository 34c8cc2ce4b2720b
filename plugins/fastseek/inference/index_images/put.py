"""Images into an index: only what is not known yet is embedded."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...data.own_images import images_of
from ...data.rejects import Reject
from ...errors import DataError, shorten
from ...index import Store
from ...index.columns import MetadataTable
from ...index.names import LONGEST
from ...index.open_store import update_metadata
from ...io.digests import sha256
from ...io.paths import PathLike
from ...progress import progress
from ...structures import Item
from ...structures.embeddings_writer import write_rejects
from ..pretrained import ImageModel, count_images, embed_batches

CHUNK = 2048  # images that are put in at once: what a kill can cost
LETTERS = 32  # of the hash of a file that are kept: 128 bits


@dataclasses.dataclass(frozen=True)
class Arrival:
    """Images that are to be put into an index.

    Args:
        images: a folder, searched through; one image; or a CSV or Parquet file.
        replace: whether an image that is there with another content is replaced, or refused.
        prefix: is put before every id.
        table: metadata.
        threads: that read images; 0 chooses.
    """

    images: PathLike
    replace: bool = False
    prefix: str = ""
    table: MetadataTable | None = None
    threads: int = 0


class Outcome(NamedTuple):
    """What became of images: embedded and put in, of them in the place of others, there already
    with the same content, and not readable.
    """

    embedded: int
    replaced: int
    known: int
    rejected: int


def put_images(
    index: Store, arrival: Arrival, model: ImageModel | Callable[[], ImageModel]
) -> Outcome:
    """Put images into an index, and embed those that are not there with the same content.

    They are put in by the thousand: one that is killed has lost the last of them only, and the same
    call goes on. Images that cannot be read are named in rejects.csv beside the index.

    Args:
        index: where they go.
        arrival: what is to be put in, and how.
        model: embeds them; or what loads it, called where there is something to embed.

    Raises:
        DataError: nothing is there, a row of the table is of no image, or an id is there with
            another content and is not to be replaced.
        ArtefactError: the index is of another model.
    """
    items, root = images_of(arrival.images)
    items = [dataclasses.replace(item, id=arrival.prefix + item.id) for item in items]
    ids = [item.id for item in items]
    if arrival.table is not None:
        arrival.table.check_ids(ids)
    contents = [_hash(item.path) for item in items]
    same = _find_same(index, ids, contents)
    if not arrival.replace:
        _refuse_changed(index, ids, same)
    rows = [number for number, known in enumerate(same) if not known]
    writer = _Writer(index, arrival, root)
    with index.batch():
        if arrival.replace:
            writer.renew_metadata([name for name, known in zip(ids, same, strict=True) if known])
        if rows:
            loaded = model if isinstance(model, ImageModel) else model()
            writer.put([items[row] for row in rows], [contents[row] for row in rows], loaded)
    writer.write_rejects()
    return Outcome(writer.embedded, writer.replaced, sum(same), len(writer.rejects))


class _Writer:
    """Puts images into an index, many at once."""

    def __init__(self, index: Store, arrival: Arrival, root: str) -> None:
        self.index, self.arrival = index, arrival
        # Ids with a prefix are no paths below the folder.
        self.provenance: dict[str, Any] = {} if arrival.prefix else {"root": root}
        self.embedded = self.replaced = 0
        self.rejects: list[Reject] = []

    def renew_metadata(self, names: Sequence[str]) -> None:
        """Give images that are there, and stay, the metadata of the table."""
        table = self.arrival.table
        wanted = [] if table is None else sorted(set(names) & set(table.ids))
        if table is not None and wanted:
            update_metadata(self.index, wanted, table.pick(wanted))

    def put(self, items: Sequence[Item], contents: Sequence[str], model: ImageModel) -> None:
        """Embed images and put them in."""
        self.provenance = {**model.provenance, **self.provenance}
        told = {
            item.id: (os.path.abspath(item.path), content)
            for item, content in zip(items, contents, strict=True)
        }
        parts = embed_batches(model, items, 0, self.arrival.threads)
        what = f"embedding {pathlib.Path(self.arrival.images).name}"
        names: list[str] = []
        vectors: list[np.ndarray] = []
        for ids, block, rejects in progress(
            parts, what, len(items), unit="images", count=count_images
        ):
            self.rejects += rejects
            names += ids
            vectors.append(block)
            if len(names) >= CHUNK:
                self._flush(names, vectors, told)
                names, vectors = [], []
        if names:
            self._flush(names, vectors, told)

    def _flush(
        self, names: list[str], vectors: list[np.ndarray], told: dict[str, tuple[str, str]]
    ) -> None:
        table = self.arrival.table
        columns: dict[str, list[Any]] = {} if table is None else table.pick(names)
        columns["path"] = [_spell_path(told[name][0]) for name in names]
        columns["content"] = [told[name][1] for name in names]
        block = np.concatenate(vectors)
        if self.arrival.replace:
            self.replaced += self.index.upsert(names, block, columns, self.provenance)
        else:
            self.index.add(names, block, columns, self.provenance)
        self.embedded += len(names)

    def write_rejects(self) -> None:
        """Name the images that could not be read."""
        if self.rejects:
            write_rejects(self.index.rejects, self.rejects)


def _hash(path: str) -> str:
    """The start of a file's SHA-256, "" where it cannot be read; the model tells why."""
    try:
        return sha256(path)[:LETTERS]
    except OSError:
        return ""


def _spell_path(path: str) -> str:
    """A path as metadata; one that is too long is not kept."""
    return path if len(path.encode("utf-8", "surrogatepass")) <= LONGEST else ""


def _find_same(index: Store, ids: Sequence[str], contents: Sequence[str]) -> list[bool]:
    """Which images are there with the same content."""
    there = [name for name, known in zip(ids, index.known(ids).tolist(), strict=True) if known]
    if not there or "content" not in index.columns:
        return [False] * len(ids)
    stored = dict(zip(there, index.metadata(there, ["content"])["content"], strict=True))
    return [
        bool(content) and stored.get(name) == content
        for name, content in zip(ids, contents, strict=True)
    ]


def _refuse_changed(index: Store, ids: Sequence[str], same: Sequence[bool]) -> None:
    """Refuse images whose ids are there with another content, or with one that is not known.

    Raises:
        DataError: there are such; names the first.
    """
    known = index.known(ids).tolist()
    changed = [one for one, there, kept in zip(ids, known, same, strict=True) if there > kept]
    if not changed:
        return
    stored: list[Any] = [None] * len(changed)
    if "content" in index.columns:
        stored = index.metadata(changed, ["content"])["content"]
    # Of bare vectors nothing tells whether they are of the images as they are now.
    untold = [one for one, content in zip(changed, stored, strict=True) if not content]
    what = "as vectors put in without their images" if untold else "with another content"
    raise DataError(
        f"{index.name}: {len(untold or changed)} of {len(ids)} ids are there {what}, such as"
        f" {shorten((untold or changed)[0])!r}: upsert replaces them, --prefix gives new ids"
    )
