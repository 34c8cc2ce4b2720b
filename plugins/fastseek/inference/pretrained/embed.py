"""Images of the user's to an embeddings folder, by a pretrained model."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...data.images import BadImage
from ...data.own_images import images_of, source_of
from ...data.rejects import Reject, reject
from ...errors import ArtefactError, RunError
from ...io.json_files import read_json
from ...io.paths import PathLike
from ...io.remote_folder import is_address
from ...progress import progress
from ...structures import Embeddings, Item, paths_of
from ...structures.embedding_job import STORE, EmbeddingJob
from ...structures.job_part import ALL, JobPart
from ...structures.remote_embeddings import fetch_plan, store_part_anywhere
from .decoding import Decoded, decode_batches
from .image_model import ImageModel
from .options import ENGINES

PHASE = "extract"  # as the recipes' rejects call it
Part = tuple[list[str], np.ndarray, list[Reject]]
Watch = Callable[[list[str], np.ndarray], None]


def embed_images(
    model: ImageModel,
    images: PathLike,
    out: PathLike,
    threads: int = 0,
    watch: Watch | None = None,
) -> Embeddings:
    """Embed a folder, one image or a table into a folder; a killed run goes on where it stopped.

    Args:
        model: what `load_model` gave.
        images: a folder, searched through, whose images get their path below it as id; one image;
            or a CSV or Parquet file.
        out: folder of the embeddings, with rejects.csv beside them.
        threads: that read images; 0 chooses, and the number changes no result.
        watch: called with the ids and vectors of every batch as soon as it is embedded; what a run
            before has stored is not told again.

    Raises:
        DataError: nothing is there, or nothing can be read.
        ArtefactError: the folder holds embeddings of another model or of other images.
    """
    items, root = images_of(images)
    return embed_items(model, items, root, out, threads, watch)


def embed_items(
    model: ImageModel,
    items: Sequence[Item],
    root: str,
    out: PathLike,
    threads: int = 0,
    watch: Watch | None = None,
) -> Embeddings:
    """As `embed_images`, of items whose ids are relative to `root`."""
    found = embed_part(model, items, root, out, threads, watch)
    if found is None:  # a shard was removed meanwhile
        raise RunError(f"{out}: shards went missing: run the same command again")
    return found


def embed_part(
    model: ImageModel,
    items: Sequence[Item],
    root: str,
    out: PathLike,
    threads: int = 0,
    watch: Watch | None = None,
    part: JobPart = ALL,
) -> Embeddings | None:
    """As `embed_items`, of a part of the shards: see `store_part`.

    Returns:
        the embeddings, None while shards of other parts are missing.
    """
    source, engine = source_of(items), _engine_of(out)

    def store_with(engine: str) -> Embeddings | None:
        tuned = model.tuned(len(items), engine)
        provenance: dict[str, Any] = {**tuned.provenance, "root": root}
        job = EmbeddingJob(len(items), provenance, source, dim=model.dim)

        def batches_of(runs: Sequence[range]) -> Iterator[Part]:
            parts = embed_batches(tuned, items, runs, threads)
            what = f"embedding {pathlib.Path(root).name}{part.suffix}"
            total = sum(map(len, runs))
            for one in progress(parts, what, total, unit="images", count=count_images):
                if watch is not None:
                    watch(one[0], one[1])
                yield one

        return store_part_anywhere(batches_of, job, out, part)

    try:
        return store_with(engine)
    except ArtefactError:
        begun = _engine_of(out)
        if begun == engine:
            raise
    # Meanwhile another part has begun the job, by the engine that is the fastest where it runs.
    return store_with(begun)


def _engine_of(out: PathLike) -> str:
    """The engine that a job in a folder was begun with, "" where none was: its vectors are the same
    to the last bit only if it goes on with that.
    """
    folder = fetch_plan(os.fspath(out)) if is_address(out) else pathlib.Path(out)
    file = folder / STORE
    plan = read_json(file) if file.is_file() else None
    passport = plan.get("passport") if isinstance(plan, dict) else None
    engine = passport.get("engine") if isinstance(passport, dict) else ""
    return engine if engine in ENGINES else ""


def embed_batches(
    model: ImageModel,
    items: Sequence[Item],
    runs: Sequence[range] | None = None,
    threads: int = 0,
) -> Iterator[Part]:
    """Embed items batch by batch, in their order.

    Args:
        model: what `load_model` gave.
        items: all of them.
        runs: of numbers of those that are embedded, all when not given.
        threads: that read images.

    Yields:
        ids, float32 vectors [b, D] of those that could be read, and the others' rejects.
    """
    paths = paths_of(items)
    for batch in decode_batches(paths, model.transform, model.batch_size, threads, runs):
        yield _embed_batch(model, items, batch)


def _embed_batch(model: ImageModel, items: Sequence[Item], batch: Decoded) -> Part:
    ids, rejects = name_outcomes(items, batch)
    tensors = batch.stack()
    vectors = np.empty((0, model.dim), np.float32) if tensors is None else model.vectors(tensors)
    return ids, vectors, rejects


def name_outcomes(items: Sequence[Item], batch: Decoded) -> tuple[list[str], list[Reject]]:
    """The ids of a batch's images that could be read, and the rejects of the others."""
    ids: list[str] = []
    rejects: list[Reject] = []
    for row, outcome in enumerate(batch.outcomes, batch.start):
        if isinstance(outcome, BadImage):
            rejects.append(reject(items[row].path, row, PHASE, outcome))
        else:
            ids.append(items[row].id)
    return ids, rejects


def count_images(part: Part) -> int:
    """How many images a part of `embed_batches` is of, for the progress."""
    return len(part[0]) + len(part[2])


def join_parts(parts: Iterable[Part], dim: int) -> Part:
    """The parts of `embed_batches` as one.

    Args:
        parts: in their order.
        dim: D, the length of a vector.
    """
    ids: list[str] = []
    vectors = [np.empty((0, dim), np.float32)]
    lost: list[Reject] = []
    for names, block, rejects in parts:
        ids += names
        vectors.append(block)
        lost += rejects
    return ids, np.concatenate(vectors), lost
