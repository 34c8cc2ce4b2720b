"""Images into an index: only what is not known yet is embedded."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...data.images import MOST_BYTES
from ...data.own_images import images_of
from ...data.rejects import Reject
from ...errors import DataError, UsageError, shorten
from ...index import Store
from ...index.columns import MetadataTable
from ...index.names import LONGEST
from ...io.locations import absolute, is_file, sha256_of
from ...io.paths import PathLike
from ...progress import progress
from ...structures import Embeddings, Item
from ...structures.archive import Provenance
from ...structures.embeddings_writer import write_rejects
from ...structures.known_digests import find_digest
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
        embeddings: a folder of vectors of these images, which are not embedded again; only those
            are that have none in it, or have changed since it was written.
    """

    images: PathLike
    replace: bool = False
    prefix: str = ""
    table: MetadataTable | None = None
    threads: int = 0
    embeddings: PathLike | None = None


class Outcome(NamedTuple):
    """What became of images: embedded and put in, in the place of others, there already with the
    same content, not readable, and put in with vectors that were made before.
    """

    embedded: int
    replaced: int
    known: int
    rejected: int
    taken: int


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
        UsageError: the vectors are not of these images.
        ArtefactError: the index, or what the vectors are of, is of another model.
    """
    items, root = images_of(arrival.images)
    if arrival.prefix:
        items = [dataclasses.replace(item, id=arrival.prefix + item.id) for item in items]
    ids = [item.id for item in items]
    if arrival.table is not None:
        arrival.table.check_ids(ids)
    contents = [_hash(item.path) for item in items]
    same = _find_same(index, ids, contents)
    if not arrival.replace:
        _refuse_changed(index, ids, same)
    rows = [number for number, known in enumerate(same) if not known]
    made = None if arrival.embeddings is None else _open_made(arrival.embeddings, root)
    writer = _Writer(index, arrival, root)
    with index.batch():
        if arrival.replace:
            writer.renew_metadata([name for name, known in zip(ids, same, strict=True) if known])
        left = rows
        if made is not None:
            found = _find_made(made, [items[row] for row in rows], arrival)
            taken = {row: one for row, one in zip(rows, found, strict=True) if one >= 0}
            left = [row for row in rows if row not in taken]
            writer.take(
                [items[row] for row in taken],
                [contents[row] for row in taken],
                made,
                list(taken.values()),
            )
        if left:
            loaded = model if isinstance(model, ImageModel) else model()
            writer.put([items[row] for row in left], [contents[row] for row in left], loaded)
    writer.write_rejects()
    return Outcome(writer.embedded, writer.replaced, sum(same), len(writer.rejects), writer.taken)


def _open_made(path: PathLike, root: str) -> Embeddings:
    """Vectors that were made of images below a folder.

    Raises:
        UsageError: they are of others. DataError, ArtefactError: they cannot be read.
    """
    made = Embeddings.load(path, verify=True)
    told = made.provenance.get("root")
    if not isinstance(told, str) or os.path.realpath(told) != os.path.realpath(root):
        raise UsageError(
            f"{path}: its vectors are of {told or 'images whose folder it does not tell'}, not of"
            f" {root}: name what they were embedded from with --images, or leave --images out"
        )
    return made


def _find_made(made: Embeddings, items: Sequence[Item], arrival: Arrival) -> list[int]:
    """The row of every image among vectors that are there, -1 where it has none, or may have
    changed since they were written.
    """
    row_of = {name: row for row, name in enumerate(made.ids.tolist())}
    # The first of them: what changed while the others were made was perhaps read before.
    files = pathlib.Path(arrival.embeddings or "").glob("*.npy")
    written = min((file.stat().st_mtime_ns for file in files), default=0)
    found = []
    for item in items:
        row = row_of.get(item.id.removeprefix(arrival.prefix), -1)
        try:
            state = os.stat(item.path)
        except OSError:
            row = -1
        else:
            row = row if max(state.st_mtime_ns, state.st_ctime_ns) < written else -1
        found.append(row)
    return found


class _Writer:
    """Puts images into an index, many at once."""

    def __init__(self, index: Store, arrival: Arrival, root: str) -> None:
        self.index, self.arrival = index, arrival
        # Ids with a prefix are no paths below the folder.
        self.provenance: dict[str, Any] = {} if arrival.prefix else {"root": root}
        self.embedded = self.taken = self.replaced = 0
        self.rejects: list[Reject] = []

    def renew_metadata(self, names: Sequence[str]) -> None:
        """Give images that are there, and stay, the metadata of the table."""
        table = self.arrival.table
        wanted = [] if table is None else sorted(set(names) & set(table.ids))
        if table is not None and wanted:
            self.index.update(wanted, table.pick(wanted))

    def put(self, items: Sequence[Item], contents: Sequence[str], model: ImageModel) -> None:
        """Embed images and put them in, by the engine that is fastest for so many."""
        tuned = model.tuned(len(items))
        told = _tell_files(items, contents)
        parts = embed_batches(tuned, items, threads=self.arrival.threads)
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
                self.embedded += self._flush(names, vectors, told, tuned.provenance)
                names, vectors = [], []
        if names:
            self.embedded += self._flush(names, vectors, told, tuned.provenance)

    def take(
        self, items: Sequence[Item], contents: Sequence[str], made: Embeddings, rows: Sequence[int]
    ) -> None:
        """Put images in with vectors that were made of them before, those of some rows."""
        told = _tell_files(items, contents)
        for start in range(0, len(items), CHUNK):
            here = slice(start, start + CHUNK)
            names = [item.id for item in items[here]]
            vectors = np.asarray(made.vectors[np.asarray(rows[here])])
            self.taken += self._flush(names, [vectors], told, made.provenance)

    def _flush(
        self,
        names: list[str],
        vectors: list[np.ndarray],
        told: dict[str, tuple[str, str]],
        provenance: Provenance,
    ) -> int:
        """Put images in; returns how many."""
        table = self.arrival.table
        columns: dict[str, list[Any]] = {} if table is None else table.pick(names)
        columns["path"] = [_spell_path(told[name][0]) for name in names]
        columns["content"] = [told[name][1] for name in names]
        block = np.concatenate(vectors)
        made_by = {**provenance, **self.provenance}
        if self.arrival.prefix:
            made_by.pop("root", None)
        if self.arrival.replace:
            self.replaced += self.index.upsert(names, block, columns, made_by)
        else:
            self.index.add(names, block, columns, made_by)
        return len(names)

    def write_rejects(self) -> None:
        """Name the images that could not be read."""
        if self.rejects:
            write_rejects(self.index.rejects, self.rejects)


def _tell_files(items: Sequence[Item], contents: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The whole path and the content of images by their ids."""
    return {
        item.id: (absolute(item.path), content)
        for item, content in zip(items, contents, strict=True)
    }


def _hash(path: str) -> str:
    """The start of a file's SHA-256, "" where it cannot be read; the model tells why."""
    try:
        if is_file(path):
            return find_digest(path)[:LETTERS]
        return sha256_of(path, MOST_BYTES)[:LETTERS]
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
