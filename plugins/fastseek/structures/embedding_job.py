"""EmbeddingJob: what is embedded into a folder, how it is cut into shards and pieces, and whether a
folder is for it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError, DataError, UsageError
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from .embeddings import rows_of_bytes, shard_name

DTYPES = ("float32", "float16")
PIECE_ITEMS = 2048  # what a kill can cost
STEP = 64  # shards have a multiple of so many items, so that batches fill them
SHARES = 64  # shards of a job whose bytes ask for fewer: half as many processes have enough to do
UNKNOWN_DIM = 1024
MANIFEST, STORE = "manifest.json", "store.json"
LOCKS = re.compile(r"\.lock|\.turn|\.part-\d+-of-\d+\.lock")
# What an embeddings folder is made of, and what a killed writer may leave there.
OURS = re.compile(
    r"\d{5,}(-\d{4,})?\.(ids\.npy|vectors\.npy|json)|manifest\.json|store\.json|rejects\.csv"
    r"|ids\.safetensors|\..+\.tmp-\d+(-\d+)?"
)


class Piece(NamedTuple):
    """Items that are embedded and saved together: of a shard, all of it or a run."""

    name: str
    items: range


@dataclasses.dataclass(frozen=True)
class EmbeddingJob:
    """Embed items 0 … total - 1.

    Args:
        total: how many items there are.
        provenance: what makes the vectors.
        source: a digest of what is embedded, so that a folder made of other images is not taken for
            this job's.
        dtype: "float32", or "float16" for half the space.
        dim: D, the length of a vector, where it is known: shards are cut by their bytes.
        shard_items: items of one shard; 0 chooses, and goes on as a folder was begun.

    Raises:
        UsageError: a type or size that cannot be.
    """

    total: int
    provenance: Mapping[str, Any]
    source: str = ""
    dtype: str = DTYPES[0]
    dim: int = 0
    shard_items: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or self.shard_items < 0:
            raise UsageError(
                f"dtype must be one of {DTYPES} and shard_items 0 or more, got {self.dtype!r} and"
                f" {self.shard_items}"
            )

    @property
    def size(self) -> int:
        """Items of one shard."""
        return self.shard_items or self._choose_size()

    def _choose_size(self) -> int:
        """As many as make `SHARD_BYTES`, but no more than leaves every one of `SHARES` its own."""
        most = rows_of_bytes((self.dim or UNKNOWN_DIM) * np.dtype(self.dtype).itemsize)
        wanted = max(STEP, _round_up(-(-self.total // SHARES), STEP))
        if wanted > PIECE_ITEMS:
            wanted = _round_up(wanted, PIECE_ITEMS)
        if wanted <= most:
            return wanted
        step = next(step for step in (PIECE_ITEMS, STEP, 1) if most >= step)
        return most // step * step

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.total // self.size)

    def pieces(self, number: int) -> list[Piece]:
        """What shard `number` is made of; a piece that is the whole shard has its name."""
        start, stop = number * self.size, min((number + 1) * self.size, self.total)
        if stop - start <= PIECE_ITEMS:
            return [Piece(shard_name(number), range(start, stop))]
        return [
            Piece(f"{shard_name(number)}-{place:04d}", range(first, min(first + PIECE_ITEMS, stop)))
            for place, first in enumerate(range(start, stop, PIECE_ITEMS))
        ]

    def plan(self) -> dict[str, Any]:
        """The job, as it is read back from store.json."""
        plan = {
            "passport": dict(self.provenance),
            "total": self.total,
            "shard_items": self.size,
            "dtype": self.dtype,
            "source": self.source,
        }
        read_back: dict[str, Any] = json.loads(json.dumps(plan))
        return read_back


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def claim(folder: pathlib.Path, job: EmbeddingJob) -> EmbeddingJob:
    """Write what the folder is for.

    Returns:
        the job, in shards of the size that the folder was begun with.

    Raises:
        ArtefactError: the folder is for something else.
    """
    job = _adopt_size(folder, job)
    refusal = _refusal(folder, job)
    if refusal:
        raise ArtefactError(refusal)
    if not (folder / STORE).exists():
        write_json(folder / STORE, job.plan())
    return dataclasses.replace(job, shard_items=job.size)


def is_for_another(folder: pathlib.Path, job: EmbeddingJob) -> bool:
    """Whether the folder holds embeddings that are not this job's."""
    try:
        return _refusal(folder, _adopt_size(folder, job)) is not None
    except DataError:  # store.json cannot be read
        return True


def count_missing(folder: PathLike) -> tuple[int, int]:
    """How many shards are not there yet of the job that a folder was begun for, and how many it has.

    Raises:
        DataError: nothing tells what the folder is for. ArtefactError: store.json is damaged.
    """
    plan = read_json(pathlib.Path(folder) / STORE)
    try:
        shards = -(-int(plan["total"]) // int(plan["shard_items"]))
    except (TypeError, KeyError, ValueError, ZeroDivisionError) as error:
        raise ArtefactError(f"{folder}: {STORE} does not tell what the folder is for") from error
    return len(missing_shards(pathlib.Path(folder), shards)), shards


def missing_shards(folder: pathlib.Path, shards: int) -> list[str]:
    """The names of those of so many shards that are not there.

    What is told beside them is read only where every shard has something: of a large job that takes
    minutes, and no part but the last needs it.

    Raises:
        DataError: what is told beside a shard cannot be read.
    """
    names = list(map(shard_name, range(shards)))
    there = {path.name for path in folder.iterdir()}
    missing = [name for name in names if f"{name}.json" not in there]
    return missing or [name for name in names if not _has_vectors(folder, name)]


def _has_vectors(folder: pathlib.Path, name: str) -> bool:
    """Whether the vectors that a shard's JSON tells of are there, in as many bytes."""
    entry = read_json(folder / f"{name}.json")["entry"]
    if not entry:  # none of its items could be embedded
        return True
    try:
        size = (folder / entry["vectors"]).stat().st_size
    except FileNotFoundError:
        return False
    return bool(size == entry.get("bytes", size))  # an older version did not tell it


def find_foreign(folder: PathLike, also: str = "") -> str:
    """The first file of a folder that would be lost or mixed up, were embeddings written there: in
    a folder of embeddings none but a manifest that is none of theirs, else any that they have not.

    Args:
        folder: need not be there.
        also: a pattern of names that may stand there, too.

    Returns:
        its name, "" where there is none.
    """
    path = pathlib.Path(folder)
    if not path.is_dir():
        return ""
    names = sorted(one.name for one in path.iterdir() if not LOCKS.fullmatch(one.name))
    if MANIFEST in names and not _is_manifest(path / MANIFEST):
        return MANIFEST
    if MANIFEST in names or STORE in names:
        return ""
    known = re.compile(f"{OURS.pattern}|{also}" if also else OURS.pattern)
    return next((name for name in names if not known.fullmatch(name)), "")


def empty(folder: pathlib.Path) -> None:
    """Remove embeddings and what was written beside them, the manifest first: from then on the
    folder is none.

    Raises:
        UsageError: there is something else; nothing is removed.
    """
    files = [path for path in folder.iterdir() if not LOCKS.fullmatch(path.name)]
    foreign = [path.name for path in files if path.is_dir() or not OURS.fullmatch(path.name)]
    if foreign:
        raise UsageError(
            f"{folder} holds other embeddings, and {foreign[0]!r}, which is none of theirs and would"
            " be lost: choose another folder"
        )
    # What tells whose shards these are goes last: else a run that is killed here would leave shards
    # that the next one takes for its own.
    places = {MANIFEST: 0, STORE: 2}
    for path in sorted(files, key=lambda path: (places.get(path.name, 1), path.name)):
        path.unlink()


def _is_manifest(path: pathlib.Path) -> bool:
    try:
        page = read_json(path)
    except DataError:
        return False
    return isinstance(page, dict) and {"shards", "passport"} <= set(page)


def _adopt_size(folder: pathlib.Path, job: EmbeddingJob) -> EmbeddingJob:
    """The job in shards of the size that a folder was begun with, where it names none itself."""
    if job.shard_items or not (folder / STORE).exists():
        return job
    plan = read_json(folder / STORE)
    size = plan.get("shard_items") if isinstance(plan, dict) else None
    if not isinstance(size, int) or size < 1:
        return job
    return dataclasses.replace(job, shard_items=size)


def _refusal(folder: pathlib.Path, job: EmbeddingJob) -> str | None:
    """Why the folder cannot be this job's, None when it can."""
    path = folder / STORE
    if not path.exists():
        if (folder / MANIFEST).exists():
            return f"{folder} holds embeddings from elsewhere: choose another folder"
        # Whose shards they are was told in store.json, which was lost.
        if any(folder.glob("[0-9]*.json")):
            return f"{folder} holds shards of an unknown job: choose another folder or remove it"
        return None
    old, plan = read_json(path), job.plan()
    if not isinstance(old, dict) or not isinstance(old.get("passport"), dict):
        return f"{path} does not tell what the folder is for: choose another folder or remove it"
    flat = [
        {
            **side["passport"],
            **{key: value for key, value in side.items() if key not in ("passport", "source")},
        }
        for side in (old, plan)
    ]
    missing = object()
    differ = sorted(
        key
        for key in {*flat[0], *flat[1]}
        if flat[0].get(key, missing) != flat[1].get(key, missing)
    )
    if differ:
        told = "; ".join(
            f"{key}: {flat[0].get(key)!r} there, {flat[1].get(key)!r} now" for key in differ
        )
        return f"{folder} holds other embeddings ({told}): choose another folder or remove it"
    if old.get("source", "") != plan["source"]:
        return (
            f"{folder} holds embeddings of other images (or they have changed): choose another"
            " folder or remove it"
        )
    return None
