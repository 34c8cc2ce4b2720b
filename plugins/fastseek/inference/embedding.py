"""Model + photos -> vectors: in memory for evaluation, on disk for search."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from .. import __version__
from ..data.builders import build_test_loader
from ..data.images import NORMAL_FORM
from ..distributed.process_group import inner
from ..io.model_size import CLASS_WEIGHTS
from ..io.paths import PathLike
from ..modeling.modes import preserve_modes
from ..progress import progress
from ..registry import CROPS, VIEWS, build
from ..structures import Embeddings, Item
from ..structures.embeddings_writer import fits, store
from ..views._embedding import Seen, all_views, embed_views
from .foreground import cutter

logger = logging.getLogger("fastreid.fastseek")
Part = tuple[list[str], np.ndarray, list[dict[str, Any]]]
Function = Callable[[Seen], torch.Tensor]
BESIDE = ("crops", "places")  # what a model may want beside the images


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """A model in eval mode without gradients, and back as it was even when the block fails."""
    with preserve_modes(model), torch.inference_mode():
        yield model.eval()


def embedder(cfg: Any, model: nn.Module) -> Function:
    """The function images [B, 3, H, W], or a batch dict with them, -> vectors [B, D] that a recipe
    asks for.

    What it is given stays as it is.

    A recipe of ours (with `SEEK.METRICS` or `SEEK.VIEWS`) gets vectors of unit length over all its
    views; TEST.FLIP counts as the view "hflip()". A plain fast-reid recipe gets its raw features,
    and with TEST.FLIP their mean with those of the mirrored photo. With `SEEK.FOREGROUND` all of
    this is of the photo's foreground.
    """
    whole = _of_whole(cfg, inner(model))
    if not cfg.SEEK.FOREGROUND:
        return whole
    cut = cutter(model, cfg.SEEK.FOREGROUND)
    return lambda seen: whole(
        {**seen, "images": cut(seen["images"])} if isinstance(seen, Mapping) else cut(seen)
    )


def _of_whole(cfg: Any, plain: nn.Module) -> Function:
    def features(images: Seen) -> torch.Tensor:
        batch = images if isinstance(images, Mapping) else {"images": images}
        # fast-reid's own architectures normalise the batch they are given in place
        return plain({**batch, "images": batch["images"].clone()})

    if unit_length(cfg):
        views = [build(call, VIEWS) for call in views_of(cfg)]
        return lambda images: embed_views(features, images, views)
    if cfg.TEST.FLIP.ENABLED:
        flip = build("hflip()", VIEWS)
        return lambda images: sum(features(seen) for seen in all_views(images, [flip])) / 2
    return features


def unit_length(cfg: Any) -> bool:
    """Whether the recipe's vectors have unit length."""
    return bool(cfg.SEEK.METRICS or cfg.SEEK.VIEWS)


def views_of(cfg: Any) -> list[str]:
    """The views of the recipe, as call strings; fast-reid's flip test is one."""
    flip = ["hflip()"] if cfg.TEST.FLIP.ENABLED and "hflip()" not in cfg.SEEK.VIEWS else []
    return [*cfg.SEEK.VIEWS, *flip]


def parts(
    cfg: Any,
    model: nn.Module,
    items: Sequence[Item],
    start: int = 0,
    what: str = "embedding",
    rank: int = 0,
    world_size: int = 1,
    function: Function | None = None,
) -> Iterator[tuple[np.ndarray, Part]]:
    """Yield (item numbers, (ids, vectors, rejects)) batch by batch, in item order, from item
    `start` on.

    `function` is what makes vectors of images; the recipe's `embedder` when None.
    """
    loader = build_test_loader(cfg, items, rank=rank, world_size=world_size, start=start)
    device = next(model.parameters()).device
    function = function or embedder(cfg, model)
    with evaluating(model):
        for batch in progress(loader, what):
            ids, vectors = batch["ids"], np.empty((0, 0), np.float32)
            if ids:
                vectors = function(pictures(batch, device)).float().cpu().numpy()
            yield np.asarray(batch["rows"]), (ids, vectors, batch["rejects"])


def pictures(batch: Mapping[str, Any], device: torch.device) -> Seen:
    """The images of a batch on a device; a dict with them where the batch has crops or places
    too.
    """
    found = {
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
    found = list(parts(cfg, model, items, rank=rank, world_size=world_size, function=function))
    rejects = [reject for _, part in found for reject in part[2]]
    kept = [(rows, part[1]) for rows, part in found if len(part[1])]
    rows = np.concatenate([rows for rows, _ in kept]) if kept else np.empty(0, np.int64)
    vectors = (
        np.concatenate([vectors for _, vectors in kept]) if kept else np.empty((0, 0), np.float32)
    )
    if world_size > 1:
        rows, vectors = _gather(rows, vectors)
    return rows, vectors, rejects


def _gather(rows: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
        root: the folder the ids are relative to; pages find the photos by it.
        what: shown beside the progress.
        replace: a folder that holds other embeddings is emptied first.

    Raises:
        ArtefactError: the folder holds embeddings of another model or preprocessing, or of other
            photos.
    """
    made_by, source = describe_model(cfg, model, root), source_of(items)
    if replace and not fits(folder, len(items), made_by, source):
        logger.info("%s holds embeddings of other weights or photos: they are made anew", folder)
        shutil.rmtree(folder)

    def batches_from(start: int) -> Iterator[Part]:
        return (part for _, part in parts(cfg, model, items, start, what))

    return store(batches_from, len(items), folder, made_by, source=source)


def describe_model(cfg: Any, model: nn.Module, root: str = "") -> dict[str, Any]:
    """What made the vectors: the model's hash, how photos became tensors, views, length and
    versions.
    """
    test = list(cfg.SEEK.TEST) or [_legacy_test(cfg)]
    preprocessing = {
        "test": test,
        "mean": list(cfg.MODEL.PIXEL_MEAN),
        "std": list(cfg.MODEL.PIXEL_STD),
        "normal_form": NORMAL_FORM,
        "unit_length": unit_length(cfg),
    }
    told = {}
    if cfg.SEEK.FOREGROUND:
        preprocessing["foreground"] = cfg.SEEK.FOREGROUND
    if cfg.SEEK.CROPS:
        preprocessing["crops"] = cfg.SEEK.CROPS
        told["boxes"] = build(cfg.SEEK.CROPS, CROPS).digest
    return {
        **told,
        "model": weights_hash(model),
        "preprocessing": preprocessing,
        "views": views_of(cfg),
        "root": root,
        "versions": {"fastseek": __version__, "torch": torch.__version__},
    }


def _legacy_test(cfg: Any) -> str:
    crop = f", center_crop({list(cfg.INPUT.CROP.SIZE)})" if cfg.INPUT.CROP.ENABLED else ""
    return f"fastreid: resize({list(cfg.INPUT.SIZE_TEST)}, bicubic){crop}"


def source_of(items: Sequence[Item]) -> str:
    """SHA-256 over ids, sizes, times of change, places and boxes: another value means other or
    changed photos.
    """
    digest = hashlib.sha256()
    for item in items:
        try:
            state = os.stat(item.path)
            told = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:
            told = "missing"
        for key in ("lat", "lon", "date", "location_uncertainty", "box"):
            told += f" {key} {item.meta[key]}" if key in item.meta else ""
        digest.update(f"{item.id}\0{told}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def weights_hash(model: nn.Module, classes: bool = False) -> str:
    """SHA-256 over the names, shapes and values of all that shapes an embedding; of the class
    weights too if asked.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(inner(model).state_dict().items()):
        if classes or not CLASS_WEIGHTS.search(name):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(
                tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
    return digest.hexdigest()
