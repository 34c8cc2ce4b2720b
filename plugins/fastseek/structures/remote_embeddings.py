"""Embeddings folders at an address: written shard by shard by many machines, read through a cache.

An address has no locks and no names that change at once, so nothing there is ever half a file: a
shard is embedded into a folder of this machine, its vectors are put at the address, then the JSON
that makes them count, and whichever part ends last puts the ids and, last of all, the manifest.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from ..errors import ArtefactError, UsageError
from ..io.atomic import atomic
from ..io.locks import take_turn
from ..io.paths import PathLike, refuse_full_disk
from ..io.remote_folder import RemoteFolder, is_address, remote_cache
from .embedding_job import (
    MANIFEST,
    OURS,
    STORE,
    EmbeddingJob,
    claim,
    count_missing,
    empty,
    is_for_another,
)
from .embeddings import IDS, Embeddings, shard_name
from .embeddings_writer import Batches, store_part, write_whole
from .job_part import JobPart

REJECTS = "rejects.csv"


def store_part_anywhere(
    batches_of: Batches, job: EmbeddingJob, folder: PathLike, part: JobPart
) -> Embeddings | None:
    """As `store_part`, into a folder of this machine or of its file systems, or at an address.

    At an address parts need not see one another: none is refused, two processes of one part put
    the same bytes there, and the same command again goes on after the last whole shard.

    Raises:
        ArtefactError: the folder holds other embeddings. UsageError: it holds something else, or
            nothing can be written there. RunError: it cannot be reached.
    """
    if not is_address(folder):
        return store_part(batches_of, job, folder, part)
    remote = RemoteFolder(os.fspath(folder))
    local = remote_cache(remote.url) / "made"
    with refuse_full_disk(local, "what is at the address is whole"):
        job = _claim(remote, local, job)
        there = remote.sizes()
        for number in part.shards(job.shards):
            if f"{shard_name(number)}.json" not in there:
                _make_shard(batches_of, job, number, remote, local)
        return _finish(remote, local, job)


def count_missing_anywhere(folder: PathLike) -> tuple[int, int]:
    """As `count_missing`, also at an address."""
    if not is_address(folder):
        return count_missing(folder)
    remote = RemoteFolder(os.fspath(folder))
    local = remote_cache(remote.url) / "made"
    shards = count_missing(local)[1]
    return len(_missing(remote.sizes(), shards)), shards


def fetch_plan(folder: str) -> pathlib.Path:
    """The folder of this machine that has the store.json of an address, if that has one."""
    remote = RemoteFolder(folder)
    local = remote_cache(remote.url) / "made"
    _fetch_plan(remote, local, remote.sizes())
    return local


def _claim(remote: RemoteFolder, local: pathlib.Path, job: EmbeddingJob) -> EmbeddingJob:
    """Agree with the address, and this machine's folder for it, on what is embedded."""
    with take_turn(local):
        there = remote.sizes()
        foreign = sorted(name for name in there if not OURS.fullmatch(name))
        if foreign:
            raise UsageError(f"{remote.url} holds {foreign[0]!r}, which is no file of embeddings")
        if STORE not in there and there:
            raise ArtefactError(
                f"{remote.url} holds shards of an unknown job: choose another place"
            )
        _fetch_plan(remote, local, there)
        # What another job has left here.
        if STORE not in there and is_for_another(local, job):
            empty(local)
        with _tell_of(remote, local):
            made = claim(local, job)
        if STORE not in there:
            remote.write(local / STORE)
    return made


def _check_plan(remote: RemoteFolder, local: pathlib.Path) -> None:
    """Refuse to mix what two jobs make that found the place empty at the same time."""
    if remote.read(STORE) != (local / STORE).read_bytes():
        raise ArtefactError(
            f"{remote.url}: another job was begun there at the same time: choose another place"
        )


def _fetch_plan(remote: RemoteFolder, local: pathlib.Path, there: dict[str, int]) -> None:
    if STORE not in there:
        return
    page = remote.read(STORE)
    local.mkdir(parents=True, exist_ok=True)
    if (local / STORE).exists() and (local / STORE).read_bytes() != page:
        empty(local)
    with atomic(local / STORE) as file:
        file.write(page)


@contextlib.contextmanager
def _tell_of(remote: RemoteFolder, local: pathlib.Path) -> Iterator[None]:
    """Name the address in errors, and not the folder that stands for it."""
    try:
        yield
    except ArtefactError as error:
        raise ArtefactError(str(error).replace(str(local), remote.url)) from error


def _make_shard(
    batches_of: Batches, job: EmbeddingJob, number: int, remote: RemoteFolder, local: pathlib.Path
) -> None:
    """Embed one shard here, a part of its own, and put it there."""
    name = shard_name(number)
    store_part(batches_of, job, local, JobPart(number, job.shards))
    _check_plan(remote, local)
    vectors = local / f"{name}.vectors.npy"
    if vectors.exists():  # else no image of the shard could be read
        remote.write(vectors)
    remote.write(local / f"{name}.json")
    # While the manifest is there, the folder would be taken for a whole one.
    for file in (local / MANIFEST, local / f"{name}.json", vectors):
        file.unlink(missing_ok=True)


def _missing(there: dict[str, int], shards: int) -> list[str]:
    return [name for name in map(shard_name, range(shards)) if f"{name}.json" not in there]


def _finish(remote: RemoteFolder, local: pathlib.Path, job: EmbeddingJob) -> Embeddings | None:
    """Put there what makes the folder one of embeddings, if all shards are."""
    there = remote.sizes()
    if _missing(there, job.shards):
        return None
    if MANIFEST not in there:
        _write_whole(remote, local, job)
    return Embeddings.load(remote.url)


def _write_whole(remote: RemoteFolder, local: pathlib.Path, job: EmbeddingJob) -> None:
    folder = local.with_name(f"whole-{os.getpid()}")
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{shard_name(number)}.json" for number in range(job.shards)]
    try:
        for name, page in zip(names, remote.read_all(names), strict=True):
            (folder / name).write_bytes(page)
        _check_plan(remote, local)
        try:
            write_whole(folder, job)
        finally:
            for name in (REJECTS, IDS, MANIFEST):
                if (folder / name).exists():
                    remote.write(folder / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
