"""Images to an embeddings folder with local features beside the vectors, in one pass."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...data.own_images import source_of
from ...errors import UsageError
from ...io.paths import PathLike
from ...io.remote_folder import is_address
from ...progress import progress
from ...regions.local_tokens import ALL as EVERY
from ...regions.local_tokens import MERGE, SELECTIONS, choose_tokens
from ...structures import Embeddings, Item, paths_of
from ...structures.embedding_job import EmbeddingJob
from ...structures.embeddings_writer import store_part
from ...structures.job_part import ALL, JobPart
from ...structures.local_embeddings import BINARY, FP16, Tokens
from ...structures.local_embeddings_writer import Batch, LocalBatch, LocalWriter
from .decoding import decode_batches
from .embed import name_outcomes
from .engines import EAGER
from .image_model import ImageModel
from .local_network import LocalNetwork, Seen


@dataclasses.dataclass(frozen=True)
class LocalOptions:
    """Which local features are kept, and how.

    Args:
        count: how many of an image; of "all" nothing is asked.
        bits: "fp16" or "binary".
        select: "merge" (means of groups of like ones), "norm" (the longest) or "all".
        layer: of the network, counted from the end; 1 is the last.

    Raises:
        UsageError: a value is none of these.
    """

    count: int = 16
    bits: str = FP16
    select: str = MERGE
    layer: int = 1

    def __post_init__(self) -> None:
        if self.bits not in (FP16, BINARY) or self.select not in SELECTIONS:
            raise UsageError(
                f"local features are kept as {FP16} or {BINARY} and chosen by"
                f" {', '.join(SELECTIONS)}, not {self.bits!r} and {self.select!r}"
            )
        if self.layer < 1:
            raise UsageError(f"layer {self.layer}: layers are counted from the end, the last is 1")
        if self.count < 1 and self.select != EVERY:
            raise UsageError(f"{self.count} local features of an image: expected 1 or more, or all")

    def describe(self) -> dict[str, Any]:
        """What a provenance tells of them."""
        count = {} if self.select == EVERY else {"tokens": self.count}
        return {**count, "bits": self.bits, "select": self.select, "layer": self.layer}


def embed_with_locals(
    model: ImageModel,
    items: Sequence[Item],
    root: str,
    out: PathLike,
    options: LocalOptions,
    threads: int = 0,
    part: JobPart = ALL,
) -> Embeddings | None:
    """Embed items as `embed_part` does, and their local features into the folder "locals" of `out`.

    Args:
        model: a network of timm, run by plain torch.
        items, root, out, threads, part: as for `embed_part`; `out` is no address.
        options: which local features are kept.

    Returns:
        the embeddings, None while shards of other parts are missing.

    Raises:
        UsageError: the model has no local features, or `out` is an address.
        ArtefactError: the folder holds embeddings without them, or others.
    """
    network = check_local_model(model)
    if is_address(out):
        raise UsageError(f"{os.fspath(out)}: --locals writes into a folder of this machine")
    told = {"engine": EAGER, "root": root, "locals": options.describe()}
    provenance = {**model.provenance, **told}
    job = EmbeddingJob(len(items), provenance, source_of(items), dim=model.dim)
    writer = LocalWriter(out, options.bits)

    def batches_of(runs: Sequence[range]) -> Iterator[Batch]:
        batches = _embed_batches(model, network, items, runs, threads, options)
        what = f"embedding {pathlib.Path(root).name}{part.suffix}"
        total = sum(map(len, runs))
        shown = progress(batches, what, total, unit="images", count=_count_images)
        return writer.split(shown, runs)

    found = store_part(batches_of, job, out, part)
    if found is not None:
        writer.finish(found)
    return found


def check_local_model(model: ImageModel) -> LocalNetwork:
    """What gives the local features of a model.

    Raises:
        UsageError: it has none.
    """
    if model.local_network is None:
        raise UsageError(
            f"{model.name}: its local features cannot be had: --locals goes with --model default or"
            " timm:NETWORK, run by plain torch (--engine eager or none)"
        )
    return model.local_network


def _embed_batches(
    model: ImageModel,
    network: LocalNetwork,
    items: Sequence[Item],
    runs: Sequence[range],
    threads: int,
    options: LocalOptions,
) -> Iterator[LocalBatch]:
    for batch in decode_batches(paths_of(items), model.transform, model.batch_size, threads, runs):
        ids, rejects = name_outcomes(items, batch)
        tensors = batch.stack()
        if tensors is None:
            vectors, places = (np.empty((0, 1, size), np.float32) for size in (1, 2))
            nothing = Tokens(vectors, places, np.empty((0, 1), np.float32))
            yield LocalBatch(ids, np.empty((0, model.dim), np.float32), rejects, nothing)
        else:
            seen = network(tensors, options.layer)
            yield LocalBatch(ids, seen.vectors, rejects, keep_tokens(seen, options))


def keep_tokens(seen: Seen, options: LocalOptions) -> Tokens:
    """The local features that are kept of a batch."""
    kept = [
        choose_tokens(features, seen.places, options.count, options.select)
        for features in seen.features
    ]
    return Tokens(*(np.stack(parts) for parts in zip(*kept, strict=True)))


def _count_images(batch: LocalBatch) -> int:
    return len(batch.ids) + len(batch.rejects)
