"""Vectors onto disk, shard by shard: by one process or by many that share nothing but the folder,
each of which may be killed and started again.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, RunError
from ..io import csv_rows
from ..io.atomic import remove_leftovers
from ..io.locks import hold_folder, is_held, take_turn
from ..io.paths import PathLike, refuse_full_disk
from .embedding_job import (
    LOCKS,
    MANIFEST,
    OURS,
    EmbeddingJob,
    claim,
    empty,
    is_for_another,
    missing_shards,
)
from .embeddings import Embeddings, save_ids, shard_name
from .embeddings_manifest import save_manifest
from .id_column import IdColumn
from .job_part import JobPart
from .shard_records import (
    COLUMNS,
    Outcome,
    Reject,
    is_finished,
    join_pieces,
    read_record,
    remove_pieces,
    write_piece,
)

WHOLE = "what is saved is whole"
PIECE = re.compile(r"(\d{5,}-\d{4,})\.(vectors\.npy|json)")
LEFTOVER = re.compile(r"\.(.+)\.tmp-\d+(-\d+)?")  # of `atomic`
logger = logging.getLogger("fastseek")

Batch = Sequence[Any]
Batches = Callable[[Sequence[range]], Iterable[Batch]]


def store(
    batches_of: Batches, job: EmbeddingJob, folder: PathLike, replace: bool = False
) -> Embeddings:
    """Embed a job into a folder of shards; the same call again goes on after the last whole piece.

    Shard k holds items k * size and following. Every shard is written whole with its hash beside
    it, the manifest last, so the folder is no embeddings folder before it is complete, and its
    bytes are the same however often the run was killed. Vectors that are not finite, or are zero,
    are not written: they join the rejects.

    Args:
        batches_of: called with runs of item numbers, yields batches (ids, vectors [b, D], rejects[,
            items]) of them in order, none over the end of a run; a reject is a dict of `COLUMNS`
            whose "row" is its item number, the other items of the batch are the ids; `items`, how
            many the batch covers, is checked when given.
        job: what is embedded.
        folder: gets the shards, the ids, manifest.json and rejects.csv.
        replace: a folder that holds other embeddings is emptied first.

    Returns:
        the embeddings, memory-mapped.

    Raises:
        ArtefactError: the folder holds embeddings made otherwise, or of another source; names what
            differs.
        UsageError: a folder that would be emptied holds something that is no embeddings.
        RunError: another process is writing there, the disk is full, or items went missing; what is
            there stays.
        DataError: no item could be embedded, or an id stands twice.
    """
    found = store_part(batches_of, job, folder, JobPart(), replace)
    if found is None:  # a shard was removed meanwhile
        raise RunError(f"{folder}: shards went missing: run the same command again")
    return found


def store_part(
    batches_of: Batches,
    job: EmbeddingJob,
    folder: PathLike,
    part: JobPart,
    replace: bool = False,
) -> Embeddings | None:
    """As `store`, of every n-th shard; whichever part ends last writes the manifest.

    Parts may run, die and start again in any order and on any machine that sees the folder. What
    there is in the end is the same, to the last byte, however many they were.

    Args:
        part: which shards.

    Returns:
        the embeddings, None while shards of other parts are missing.

    Raises:
        RunError: another process embeds this part, or the job in another number of parts.
    """
    folder = pathlib.Path(folder)
    with refuse_full_disk(folder, WHOLE), contextlib.ExitStack() as stack:
        with take_turn(folder):
            stack.enter_context(_hold(folder, part))
            others = [name for name in _locks(folder, part) if is_held(folder, name)]
            _refuse_other_count(folder, part, others)
            if replace and is_for_another(folder, job):
                _refuse_others(folder, others)
                logger.info("%s holds other embeddings: they are made anew", folder)
                empty(folder)
            job = claim(folder, job)
        changed = _embed(batches_of, folder, job, part)
        return _finish(folder, job, part, changed)


def _hold(folder: pathlib.Path, part: JobPart) -> contextlib.AbstractContextManager[None]:
    what = "" if part.count == 1 else f"part {part}"
    return hold_folder(folder, part.lock, what)


def _locks(folder: pathlib.Path, part: JobPart) -> list[str]:
    """The locks of other parts, of processes that live or died."""
    names = [path.name for path in folder.iterdir() if LOCKS.fullmatch(path.name)]
    return sorted(set(names) - {part.lock, ".turn"})


def _refuse_other_count(folder: pathlib.Path, part: JobPart, others: Sequence[str]) -> None:
    mine = re.compile(rf"\.part-\d+-of-{part.count}\.lock")
    _refuse_others(folder, [name for name in others if not mine.fullmatch(name)])


def _refuse_others(folder: pathlib.Path, others: Sequence[str]) -> None:
    if others:
        raise RunError(
            f"{folder}: other processes are writing here ({', '.join(others)} are locked): wait for"
            " them, or stop them"
        )


def _embed(batches_of: Batches, folder: pathlib.Path, job: EmbeddingJob, part: JobPart) -> bool:
    """Make the shards of a part that are not there.

    Returns:
        whether there were any.
    """
    shards = [
        number for number in part.shards(job.shards) if not is_finished(folder, shard_name(number))
    ]
    pieces = {number: job.pieces(number) for number in shards}
    todo = [
        piece
        for number in shards
        for piece in pieces[number]
        if len(pieces[number]) == 1 or not is_finished(folder, piece.name)
    ]
    runs = [piece.items for piece in todo]
    made = _outcomes(batches_of(runs), runs, job.total) if runs else iter(())
    wanted = set(todo)
    for number in shards:
        for piece in pieces[number]:
            if piece in wanted:
                write_piece(folder, piece, next(made), job.dtype)
        if len(pieces[number]) > 1:
            join_pieces(folder, shard_name(number), pieces[number])
    if next(made, None) is not None:
        raise RunError("more items came than were expected: run the same command again")
    return bool(shards)


def _outcomes(
    batches: Iterable[Batch], runs: Sequence[range], total: int
) -> Iterator[list[Outcome]]:
    """What became of the items of one run after the other: (id, vector), or a reject."""
    rest = iter(batches)
    for run in runs:
        made: list[Outcome] = []
        while len(made) < len(run):
            batch = next(rest, None)
            here = run.start + len(made)
            if batch is None:
                raise RunError(
                    f"only {here} of {total} items came: what is saved stays, run the same command"
                    " again"
                )
            made += _outcomes_of(batch, here)
        if len(made) > len(run):
            raise RunError(
                f"{run.start + len(made)} items came where {run.stop} were expected: nothing of the"
                " last batch is saved"
            )
        yield made
    if next(rest, None) is not None:
        yield []


def _outcomes_of(batch: Batch, start: int) -> list[Outcome]:
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


def _finish(
    folder: pathlib.Path, job: EmbeddingJob, part: JobPart, changed: bool
) -> Embeddings | None:
    """Write what makes the folder one of embeddings, if all shards are there and nobody has."""
    with take_turn(folder):
        if missing_shards(folder, job.shards):
            return None
        if changed or not (folder / MANIFEST).exists():
            write_whole(folder, job)
        # A part that makes a damaged shard anew needs its pieces. The locks of the dead are removed.
        if not any([is_held(folder, name) for name in _locks(folder, part)]):
            _sweep(folder)
        return Embeddings.load(folder)


def _sweep(folder: pathlib.Path) -> None:
    """Remove what killed processes left: pieces of shards that are whole, and half-written files."""
    names = [path.name for path in folder.iterdir()]
    remove_pieces(folder, {match[1] for match in map(PIECE.fullmatch, names) if match})
    for match in filter(None, map(LEFTOVER.fullmatch, names)):
        if OURS.fullmatch(match[1]):
            remove_leftovers(folder / match[1])


def write_whole(folder: pathlib.Path, job: EmbeddingJob) -> None:
    """Write rejects.csv, the ids and then the manifest."""
    entries, columns, rejects = [], [], []
    for number in range(job.shards):
        record = read_record(folder, shard_name(number))
        rejects += record["rejects"]
        if record["entry"]:
            entries.append(record["entry"])
            columns.append(IdColumn.from_strings(record["ids"]))
    write_rejects(folder / "rejects.csv", rejects)
    if not entries:
        raise DataError(
            f"none of {len(rejects)} items could be embedded: see {folder / 'rejects.csv'}"
        )
    ids = IdColumn.concatenate(columns)
    ids.check_unique(f"{folder}: images")
    if ids.find([""])[0] >= 0:
        raise DataError("an id is empty: every image needs a name")
    save_manifest(folder, entries, save_ids(folder, ids), job.provenance)


def write_rejects(file: PathLike, rejects: Iterable[Reject]) -> None:
    """Name what could not be read in a table of `COLUMNS`."""
    rows = ([reject[column] for column in COLUMNS] for reject in rejects)
    csv_rows.write(file, COLUMNS, map(csv_rows.guard_row, rows))
