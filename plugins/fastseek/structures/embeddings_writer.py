"""Vectors onto disk, shard by shard, so that a killed run goes on where it stopped."""

from __future__ import annotations

import itertools
import json
import logging
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, RunError, UsageError
from ..io import csv_rows
from ..io.json_files import read_json, write_json
from ..io.locks import LOCK, hold_folder
from ..io.paths import PathLike, refuse_full_disk
from . import Embeddings, save_manifest, save_shard
from .known_digests import check_digest

COLUMNS = ("path", "row", "phase", "code", "detail", "sha256", "bytes")
DTYPES = ("float32", "float16")
SHARD_ITEMS = 2048
WHOLE = "what is saved is whole"
MANIFEST, STORE = "manifest.json", "store.json"
# What an embeddings folder is made of, and what a killed writer may leave there.
OURS = re.compile(
    r"\d{5,}\.(ids\.npy|vectors\.npy|json)|manifest\.json|store\.json|rejects\.csv|\..+\.tmp-\d+(-\d+)?"
)
logger = logging.getLogger("fastseek")

Reject = Mapping[str, Any]
Batch = Sequence[Any]
Outcome = tuple[str, np.ndarray] | Reject


def store(
    batches_from: Callable[[int], Iterable[Batch]],
    total: int,
    folder: PathLike,
    provenance: Mapping[str, Any],
    shard_items: int = SHARD_ITEMS,
    dtype: str = "float32",
    source: str = "",
) -> Embeddings:
    """Embed items 0 … total - 1 into a folder of shards; the same call again goes on after the last
    whole shard.

    Shard k holds items k * shard_items and following. Every shard is written whole with its hashes
    beside it, the manifest last, so the folder is no embeddings folder before it is complete, and
    its bytes are the same however often the run was killed. Vectors that are not finite, or are
    zero, are not written: they join the rejects.

    Args:
        batches_from: called with an item number, yields batches (ids, vectors [b, D], rejects[,
            items]) from that item on, in order; a reject is a dict of `COLUMNS` whose "row" is its
            item number, the other items of the batch are the ids; `items`, how many the batch
            covers, is checked when given.
        total: how many items there are.
        folder: gets the shards, manifest.json and rejects.csv.
        provenance: what makes the vectors.
        shard_items: items of one shard: what a kill can cost.
        dtype: "float32", or "float16" for half the space.
        source: a digest of what is embedded, so that a folder made of other images is not taken for
            this job's.

    Returns:
        the embeddings, memory-mapped.

    Raises:
        ArtefactError: the folder holds embeddings made otherwise, or of another source; names what
            differs.
        RunError: another process is writing there, the disk is full, or items went missing; what is
            there stays.
        DataError: no item could be embedded, or an id stands twice.
    """
    if dtype not in DTYPES or shard_items < 1:
        raise UsageError(
            f"dtype must be one of {DTYPES} and shard_items 1 or more, got {dtype!r} and"
            f" {shard_items}"
        )
    folder = pathlib.Path(folder)
    plan = _plan(total, provenance, source, shard_items, dtype)
    with hold_folder(folder), refuse_full_disk(folder, WHOLE):
        return _store_held(batches_from, folder, plan)


def store_anew(
    batches_from: Callable[[int], Iterable[Batch]],
    total: int,
    folder: PathLike,
    provenance: Mapping[str, Any],
    source: str = "",
) -> Embeddings:
    """As `store`, but a folder that holds other embeddings is emptied first.

    The folder is held before it is looked at, so that nothing is removed which another process is
    writing. The arguments are those of `store`.

    Raises:
        UsageError: the folder holds something that is no embeddings, which would be lost.
        RunError, DataError: as for `store`.
    """
    folder = pathlib.Path(folder)
    plan = _plan(total, provenance, source, SHARD_ITEMS, DTYPES[0])
    with hold_folder(folder), refuse_full_disk(folder, WHOLE):
        if _is_for_another(folder, plan):
            logger.info("%s holds other embeddings: they are made anew", folder)
            _empty(folder)
        return _store_held(batches_from, folder, plan)


def _store_held(
    batches_from: Callable[[int], Iterable[Batch]], folder: pathlib.Path, plan: Mapping[str, Any]
) -> Embeddings:
    """Do what `store` does, in a folder that is held."""
    _claim(folder, plan)
    total, size = plan["total"], plan["shard_items"]
    count = -(-total // size)
    shards: dict[int, dict[str, Any]] = {}
    for number in range(count):
        finished = _read_finished(folder, number)
        if finished is not None:
            shards[number] = finished
    seen = {name for shard in shards.values() for name in _ids(folder, shard)}
    for first, last in _gaps(shards, count):
        items = _items(batches_from, first * size, total)
        for number in range(first, last):
            part = list(itertools.islice(items, min(size, total - number * size)))
            shards[number] = _write(folder, number, part, number * size, plan["dtype"], seen)
    return _finish(folder, [shards[number] for number in range(count)], plan["passport"])


def _is_for_another(folder: pathlib.Path, plan: Mapping[str, Any]) -> bool:
    """Whether the folder holds embeddings that are not this job's."""
    try:
        return _refusal(folder, plan) is not None
    except DataError:  # store.json cannot be read
        return True


def _empty(folder: pathlib.Path) -> None:
    """Remove embeddings and what was written beside them, the manifest first: from then on the
    folder is none.

    Raises:
        UsageError: there is something else; nothing is removed.
    """
    files = [path for path in folder.iterdir() if path.name != LOCK]
    foreign = [path.name for path in files if path.is_dir() or not OURS.fullmatch(path.name)]
    if foreign:
        raise UsageError(
            f"{folder} holds other embeddings, and {foreign[0]!r}, which is none of theirs and would"
            " be lost: choose another folder"
        )
    # What tells whose shards these are goes last: else a run that is killed here would leave shards
    # that the next one takes for its own.
    places = {"manifest.json": 0, "store.json": 2}
    for path in sorted(files, key=lambda path: (places.get(path.name, 1), path.name)):
        path.unlink()


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
    names = sorted(one.name for one in path.iterdir() if one.name != LOCK)
    if MANIFEST in names and not _is_manifest(path / MANIFEST):
        return MANIFEST
    if MANIFEST in names or STORE in names:
        return ""
    known = re.compile(f"{OURS.pattern}|{also}" if also else OURS.pattern)
    return next((name for name in names if not known.fullmatch(name)), "")


def _is_manifest(path: pathlib.Path) -> bool:
    try:
        page = read_json(path)
    except DataError:
        return False
    return isinstance(page, dict) and {"shards", "passport"} <= set(page)


def fits(
    folder: PathLike,
    total: int,
    provenance: Mapping[str, Any],
    source: str,
    shard_items: int = SHARD_ITEMS,
    dtype: str = "float32",
) -> bool:
    """Whether `store` would take the folder: it is missing, holds no embeddings, or is this very
    job's.

    Nothing is written and no vector is read. The arguments are those of `store`.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        return False
    return not _is_for_another(folder, _plan(total, provenance, source, shard_items, dtype))


def _plan(
    total: int, provenance: Mapping[str, Any], source: str, shard_items: int, dtype: str
) -> dict[str, Any]:
    """The job, as it is read back from store.json."""
    plan = {
        "passport": dict(provenance),
        "total": total,
        "shard_items": shard_items,
        "dtype": dtype,
        "source": source,
    }
    read_back: dict[str, Any] = json.loads(json.dumps(plan))
    return read_back


def _claim(folder: pathlib.Path, plan: Mapping[str, Any]) -> None:
    """Write what the folder is for; refuse a folder that is for something else."""
    refusal = _refusal(folder, plan)
    if refusal:
        raise ArtefactError(refusal)
    if not (folder / "store.json").exists():
        write_json(folder / "store.json", dict(plan))


def _refusal(folder: pathlib.Path, plan: Mapping[str, Any]) -> str | None:
    """Why the folder cannot be this job's, None when it can."""
    path = folder / "store.json"
    if not path.exists():
        if (folder / "manifest.json").exists():
            return f"{folder} holds embeddings from elsewhere: choose another folder"
        # Whose shards they are was told in store.json, which was lost.
        if any(folder.glob("[0-9]*.json")):
            return f"{folder} holds shards of an unknown job: choose another folder or remove it"
        return None
    old = read_json(path)
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


def _read_finished(folder: pathlib.Path, number: int) -> dict[str, Any] | None:
    """What is known of a shard if it is whole, by its hashes."""
    path = folder / f"{number:05d}.json"
    if not path.exists():
        return None
    shard: dict[str, Any] = read_json(path)
    files = [
        (folder / shard["entry"][name], shard["entry"][f"{name}_sha256"]) for name in _arrays(shard)
    ]
    whole = all(file.exists() and _has_digest(file, digest) for file, digest in files)
    return shard if whole else None


def _has_digest(file: pathlib.Path, digest: str) -> bool:
    """Whether a file's bytes are those that were written; whoever reads it next need not ask again."""
    try:
        check_digest(file, digest)
    except ArtefactError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return False
    return True


def _arrays(shard: Mapping[str, Any]) -> tuple[str, ...]:
    return ("ids", "vectors") if shard["entry"] else ()


def _ids(folder: pathlib.Path, shard: Mapping[str, Any]) -> list[str]:
    if not shard["entry"]:
        return []
    ids: list[str] = np.load(folder / shard["entry"]["ids"], allow_pickle=False).tolist()
    return ids


def _gaps(shards: Collection[int], count: int) -> list[tuple[int, int]]:
    """Runs [first, last) of shard numbers below `count` that are not there."""
    missing = [number not in shards for number in range(count)]
    edges = np.flatnonzero(np.diff([False, *missing, False]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _items(
    batches_from: Callable[[int], Iterable[Batch]], start: int, total: int
) -> Iterator[Outcome]:
    """One item after another: (id, vector), or a reject."""
    here = start
    for batch in batches_from(start):
        outcomes = _outcomes(batch, here)
        here += len(outcomes)
        if here > total:
            raise RunError(
                f"{here} items came where {total} were expected: nothing of the last batch is saved"
            )
        yield from outcomes
    if here < total:
        raise RunError(
            f"only {here} of {total} items came: what is saved stays, run the same command again"
        )


def _outcomes(batch: Batch, start: int) -> list[Outcome]:
    ids, vectors, rejects = batch[:3]
    size = len(ids) + len(rejects)
    rejected = {int(reject["row"]): reject for reject in rejects}
    numbers = range(start, start + size)
    if (
        len(vectors) != len(ids)
        or len(rejected) != len(rejects)
        or not all(row in numbers for row in rejected)
    ):
        raise RunError(
            f"a batch from item {start} has {len(ids)} ids, {len(vectors)} vectors and rejects "
            f"{sorted(rejected)}: they do not make up its {size} items"
        )
    if len(batch) > 3 and batch[3] is not None and batch[3] != size:
        raise RunError(f"a batch from item {start} covers {batch[3]} items and tells of {size}")
    good = iter(zip(ids, np.asarray(vectors), strict=True))
    return [rejected[number] if number in rejected else next(good) for number in numbers]


def _write(
    folder: pathlib.Path,
    number: int,
    outcomes: Sequence[Outcome],
    start: int,
    dtype: str,
    seen: set[str],
) -> dict[str, Any]:
    """Write a shard, then the JSON that makes it count; returns what is in the JSON."""
    good: list[tuple[str, np.ndarray]] = []
    rejects: list[dict[str, str]] = []
    for row, outcome in enumerate(outcomes, start):
        if isinstance(outcome, Mapping):
            rejects.append(_reject(outcome))
            continue
        name, vector = str(outcome[0]), _cast(outcome[1], dtype)
        fault = _fault(vector)
        if fault:
            rejects.append(
                _reject(
                    {
                        "path": name,
                        "row": row,
                        "phase": "embed",
                        "code": "NONFINITE_EMBEDDING",
                        "detail": fault,
                    }
                )
            )
            continue
        if name in seen:
            raise DataError(
                f"two items have the id {name!r}: an id must stand once, remove one of them"
            )
        seen.add(name)
        good.append((name, vector))
    ids, vectors = zip(*good, strict=True) if good else ((), ())
    shard = {
        "entry": save_shard(folder, number, np.array(ids), np.stack(vectors)) if good else {},
        "rejects": rejects,
    }
    write_json(folder / f"{number:05d}.json", shard)
    return shard


def _cast(vector: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(vector).astype(dtype)


def _fault(vector: np.ndarray) -> str:
    if not np.isfinite(vector).all():
        return f"{int((~np.isfinite(vector)).sum())} of {len(vector)} values are not finite"
    return "" if vector.any() else "all values are zero"


def _reject(reject: Reject) -> dict[str, str]:
    return {column: str(reject.get(column, "")) for column in COLUMNS}


def _finish(
    folder: pathlib.Path, shards: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]
) -> Embeddings:
    """Write rejects.csv and then the manifest."""
    rejects = [reject for shard in shards for reject in shard["rejects"]]
    write_rejects(folder / "rejects.csv", rejects)
    entries = [shard["entry"] for shard in shards if shard["entry"]]
    if not entries:
        raise DataError(
            f"none of {len(rejects)} items could be embedded: see {folder / 'rejects.csv'}"
        )
    save_manifest(folder, entries, provenance)
    return Embeddings.load(folder)


def write_rejects(file: PathLike, rejects: Iterable[Reject]) -> None:
    """Name what could not be read in a table of `COLUMNS`."""
    rows = ([reject[column] for column in COLUMNS] for reject in rejects)
    csv_rows.write(file, COLUMNS, map(csv_rows.guard_row, rows))
