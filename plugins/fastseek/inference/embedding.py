"""Model + images -> vectors: in memory for evaluation, on disk for search."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from .. import __version__
from ..data.builders import build_test_loader
from ..data.images import NORMAL_FORM
from ..data.loaders import Batch, tell_images
from ..data.own_images import source_of
from ..distributed.fully_sharded import is_fully_sharded
from ..distributed.process_group import inner
from ..io.paths import PathLike
from ..modeling.class_weights import class_weight_names
from ..modeling.layers.tensor_files import hash_tensors
from ..modeling.modes import preserve_modes
from ..registry import CROPS, VIEWS, build
from ..structures import Embeddings, Item
from ..structures.embedding_job import EmbeddingJob
from ..structures.embeddings_writer import Batches, store
from ..views._embedding import Seen, all_views, embed_views
from .foreground import cutter
from .settings import EmbeddingSettings, embedding_settings

Part = tuple[list[str], np.ndarray, list[dict[str, Any]]]
Function = Callable[[Seen], torch.Tensor]
BESIDE = ("crops", "places")  # what a model may want beside the images


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """A model in eval mode without gradients, and back as it was even when the block fails."""
    # What is gathered in inference mode could not be trained on afterwards.
    plain = torch.no_grad() if is_fully_sharded(model) else torch.inference_mode()
    with preserve_modes(model), plain:
        yield model.eval()


def embedder(cfg: Any, model: nn.Module) -> Function:
    """The function images [B, 3, H, W], or a batch dict with them, -> vectors [B, D] that a recipe
    asks for.

    What it is given stays as it is.

    A recipe of ours (with `SEEK.METRICS` or `SEEK.VIEWS`) gets vectors of unit length over all its
    views; TEST.FLIP counts as the view "hflip()". A plain fast-reid recipe gets its raw features,
    and with TEST.FLIP their mean with those of the mirrored image. With `SEEK.FOREGROUND` all of
    this is of the image's foreground.
    """
    settings = embedding_settings(cfg)
    whole = _whole_embedder(settings, inner(model))
    if not settings.foreground:
        return whole
    cut = cutter(model, settings.foreground)
    return lambda seen: whole(
        {**seen, "images": cut(seen["images"])} if isinstance(seen, Mapping) else cut(seen)
    )


def _whole_embedder(settings: EmbeddingSettings, plain: nn.Module) -> Function:
    def embed(images: Seen) -> torch.Tensor:
        batch = images if isinstance(images, Mapping) else {"images": images}
        # fast-reid's own architectures normalize the batch they are given in place
        features: torch.Tensor = plain({**batch, "images": batch["images"].clone()})
        return features

    if settings.unit_length:
        views = [build(call, VIEWS) for call in settings.views]
        return lambda images: embed_views(embed, images, views)
    # As fast-reid does it: the mean of raw features, none brought to length 1 before.
    if settings.mirror:
        flip = build("hflip()", VIEWS)
        return lambda images: torch.stack([embed(seen) for seen in all_views(images, [flip])]).mean(
            dim=0
        )
    return embed


def parts(
    loader: Iterable[Batch],
    model: nn.Module,
    function: Function,
    what: str = "embedding",
) -> Iterator[tuple[np.ndarray, Part]]:
    """Yield (item numbers, (ids, vectors, rejects)) batch by batch, in the loader's order.

    Args:
        loader: a test loader.
        model: is in evaluation meanwhile.
        function: makes vectors of images, such as `embedder`.
        what: shown beside the progress.
    """
    device = next(model.parameters()).device
    with evaluating(model):
        for batch in tell_images(loader, what):
            ids, vectors = batch["ids"], np.empty((0, 0), np.float32)
            if ids:
                vectors = function(model_input(batch, device)).float().cpu().numpy()
            yield np.asarray(batch["rows"]), (ids, vectors, batch["rejects"])


def model_input(batch: Mapping[str, Any], device: torch.device) -> Seen:
    """The images of a batch on a device; a dict with them where the batch has crops or places
    too.
    """
    found: dict[str, torch.Tensor] = {
        name: batch[name].to(device, non_blocking=True)
        for name in ("images", *BESIDE)
        if name in batch
    }
    return found if len(found) > 1 else found["images"]


def in_memory(
    cfg: Any, model: nn.Module, items: Sequence[Item], function: Function | None = None
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Embed all items, or do with them what `function` does, shared between the processes.

    Returns:
        item numbers [n] int64, rising; vectors [n, D] float32; and the rejects of this process.
        Every process gets the vectors of all.
    """
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    loader = build_test_loader(cfg, items, rank=rank, world_size=world_size)
    found = list(parts(loader, model, function or embedder(cfg, model)))
    rejects = [reject for _, part in found for reject in part[2]]
    # A batch of which nothing could be read has no vectors, not even their length.
    kept = [(rows, part[1]) for rows, part in found if len(part[1])]
    rows = np.concatenate([rows for rows, _ in kept]) if kept else np.empty(0, np.int64)
    vectors = (
        np.concatenate([vectors for _, vectors in kept]) if kept else np.empty((0, 0), np.float32)
    )
    if world_size > 1:
        rows, vectors = gather(rows, vectors)
    return rows, vectors, rejects


def gather(rows: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All processes' rows, as padded tensors: nothing is pickled, and uneven shards are fine."""
    device = (
        torch.device("cuda", torch.cuda.current_device())
        if dist.get_backend() == "nccl"
        else torch.device("cpu")
    )
    mine = torch.tensor([len(rows), vectors.shape[1]], device=device)
    sizes = [torch.zeros_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, mine)
    longest, dim = (int(max(size[column] for size in sizes)) for column in (0, 1))
    table = torch.zeros(longest, dim, device=device)
    numbers = torch.zeros(longest, dtype=torch.int64, device=device)
    if len(rows):
        table[: len(rows)] = torch.from_numpy(vectors).to(device)
        numbers[: len(rows)] = torch.from_numpy(rows).to(device)
    tables = [torch.zeros_like(table) for _ in sizes]
    lists = [torch.zeros_like(numbers) for _ in sizes]
    dist.all_gather(tables, table)
    dist.all_gather(lists, numbers)
    counts = [int(size[0]) for size in sizes]
    rows = (
        torch.cat([part[:count] for part, count in zip(lists, counts, strict=True)]).cpu().numpy()
    )
    vectors = (
        torch.cat([part[:count] for part, count in zip(tables, counts, strict=True)]).cpu().numpy()
    )
    return rows, vectors


def to_store(
    cfg: Any,
    model: nn.Module,
    items: Sequence[Item],
    folder: PathLike,
    root: str = "",
    what: str = "embedding",
    replace: bool = False,
) -> Embeddings:
    """Embed items into a folder of shards, going on where a killed run stopped.

    Args:
        cfg: the recipe.
        model: the trained model.
        items: what to embed, in this order.
        folder: where the shards go.
        root: the folder the ids are relative to; pages find the images by it.
        what: shown beside the progress.
        replace: a folder that holds other embeddings is emptied first.

    Raises:
        ArtefactError: the folder holds embeddings of another model or preprocessing, or of other
            images.
    """
    return store(*job_of(cfg, model, items, root, what), folder, replace)


def job_of(
    cfg: Any, model: nn.Module, items: Sequence[Item], root: str = "", what: str = "embedding"
) -> tuple[Batches, EmbeddingJob]:
    """What `store` and `store_part` are called with; the arguments are those of `to_store`."""
    job = EmbeddingJob(len(items), describe_model(cfg, model, root), source_of(items))
    return feed(cfg, model, items, embedder(cfg, model), what), job


def feed(
    cfg: Any, model: nn.Module, items: Sequence[Item], function: Function, what: str
) -> Batches:
    """What embeds runs of items and no others: what stands in whole pieces is not read again."""

    def batches_of(runs: Sequence[range]) -> Iterator[Part]:
        loader = build_test_loader(cfg, items, runs=runs)
        return (part for _, part in parts(loader, model, function, what))

    return batches_of


def describe_model(cfg: Any, model: nn.Module, root: str = "") -> dict[str, Any]:
    """What made the vectors: the model's hash, how images became tensors, views, length and
    versions.
    """
    settings = embedding_settings(cfg)
    preprocessing = {
        "test": settings.transforms,
        "mean": settings.mean,
        "std": settings.std,
        "normal_form": NORMAL_FORM,
        "unit_length": settings.unit_length,
    }
    described: dict[str, Any] = {}
    if settings.foreground:
        preprocessing["foreground"] = settings.foreground
    if settings.crops:
        preprocessing["crops"] = settings.crops
        # The file may change while the call string stays.
        described["boxes"] = build(settings.crops, CROPS).digest
    former = former_weights_hash(model)
    if former:
        described["former_model"] = former  # tells embeddings of version 0.1 from a stranger's
    return {
        **described,
        "model": weights_hash(model),
        "preprocessing": preprocessing,
        "views": settings.views,
        "root": root,
        "versions": {"fastseek": __version__, "torch": str(torch.__version__)},
    }


# What version 0.1 took for class weights, wherever it stood.
FORMER_CLASS_WEIGHTS = re.compile(r"(^|\.)(\w*heads?\.weight$|classifier\b|losses\.)")


def former_weights_hash(model: nn.Module) -> str:
    """The hash by which version 0.1 knew a model, "" where it is that of today.

    It left out the last convolution of an EfficientNet, which shapes every embedding.
    """
    state = inner(model).state_dict()
    left_out = {name for name in state if FORMER_CLASS_WEIGHTS.search(name)}
    return "" if left_out == class_weight_names(model) else hash_tensors(state, left_out)


def weights_hash(model: nn.Module, classes: bool = False) -> str:
    """SHA-256 over the names, shapes and values of all that shapes an embedding; of the class
    weights too if asked.
    """
    return hash_tensors(
        inner(model).state_dict(), frozenset() if classes else class_weight_names(model)
    )
