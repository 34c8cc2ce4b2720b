"""Batches for training and for embedding, from a recipe."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as legacy

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import DataError, UsageError
from ..registry import CROPS, SAMPLERS, Sampler, build
from ..structures import Item, ItemTable, paths_of, with_split
from ..structures.geolocation import count_geolocations, geolocations_of
from ..structures.item_table import join_items
from .fastreid_datasets import resolve
from .image_cache import cache_images, split_fixed
from .label_index import TrainSet
from .loaders import LoaderOptions, TestLoader, TrainLoader
from .rejects import RejectLog
from .torch_datasets import ImageFiles, TestImages, TrainImages
from .transforms._pipeline import compose

from fastreid.data.transforms import AugMix, ToTensor
from fastreid.data.transforms import build_transforms as fastreid_transforms

logger = logging.getLogger(__name__)


def build_train_loader(
    cfg: Any, *, rank: int = 0, world_size: int = 1, context: str | None = None
) -> TrainLoader:
    """The training batches a recipe asks for; a label that two data sets share is one class.

    Args:
        cfg: fast-reid's config with our keys.
        rank, world_size: this process and how many there are.
        context: how workers start ("fork", "spawn"); the platform's way when not given.

    Raises:
        UsageError: batch size, sampler or transforms that cannot work; says the legal values.
        DataError: no images, or images without labels.
    """
    seed = _loader_seed(cfg)
    dataset = TrainSet(training_items(cfg))
    logger.info(
        "training on %d images of %d classes%s",
        len(dataset),
        dataset.num_classes,
        f", {dataset.num_cameras} cameras" if dataset.num_cameras > 1 else "",
    )
    _tell_places(cfg.SEEK.BRANCHES, dataset.items)
    sampler = build_sampler(cfg, dataset, world_size)
    # Ten are borne in any set: of a small one the share would be none.
    budget = max(10, int(cfg.SEEK.MAX_BAD * len(dataset)))
    files, transform = _prepare_files(cfg, dataset.items, train=True)
    images = TrainImages(files, transform, dataset.labels, seed, budget)
    log = RejectLog(os.path.join(cfg.OUTPUT_DIR, "rejects.csv"), budget, _fails(cfg))
    options = _loader_options(cfg, context)
    return TrainLoader(dataset, sampler, images, log, rank, world_size, options)


def build_test_loader(
    cfg: Any,
    items: Sequence[Item],
    *,
    rank: int = 0,
    world_size: int = 1,
    runs: Sequence[range] | None = None,
    context: str | None = None,
) -> TestLoader:
    """Batches of items in their order; process `rank` gets one contiguous run of them.

    Args:
        cfg: fast-reid's config with our keys.
        items: what to embed.
        rank, world_size: this process and how many there are.
        runs: runs of item numbers that are read instead, each in batches of its own.
        context: how workers start ("fork", "spawn"); the platform's way when not given.
    """
    size = cfg.TEST.IMS_PER_BATCH // world_size
    if size < 1:
        raise UsageError(
            f"TEST.IMS_PER_BATCH {cfg.TEST.IMS_PER_BATCH}: expected at least {world_size}, one a"
            " process"
        )
    images = TestImages(*_prepare_files(cfg, items, train=False))
    if runs is None:
        runs = [shard(len(items), rank, world_size)]
    return TestLoader(items, images, runs, size, _fails(cfg), _loader_options(cfg, context))


def training_items(cfg: Any) -> Sequence[Item]:
    """The training images of all data sets; those of a single one as it holds them."""
    combine_all = bool(cfg.DATASETS.COMBINEALL)
    found = [
        with_split(resolve(name, combine_all=combine_all), "train") for name in cfg.DATASETS.NAMES
    ]
    joined = join_items(found)
    # Of several sets classes stand in the order of the alphabet, as in fast-reid.
    if len(found) > 1 and isinstance(joined, ItemTable):
        return joined.with_labels_sorted()
    return joined


def _tell_places(branches: Sequence[str], items: Sequence[Item]) -> None:
    """Tell how many training images have the place and the date that a branch `geo(…)` learns
    from: without any it learns nothing.
    """
    if not any(re.search(r"\bgeo\(", call) for call in branches):
        return
    places, dates = count_geolocations(geolocations_of(items))
    told = f"{places} of {len(items)} training images have a place, {dates} a date"
    if places or dates:
        logger.info(told)
        return
    logger.warning(
        "SEEK.BRANCHES has geo(…), but %s: it learns nothing. Columns lat, lon and date (or latitude,"
        " longitude and observed_on) of a manifest tell them",
        told,
    )


def shard(count: int, rank: int, world_size: int) -> range:
    """Run `rank` of `world_size` of the numbers 0 … count - 1; lengths differ by one at most."""
    return range(count * rank // world_size, count * (rank + 1) // world_size)


def build_sampler(cfg: Any, dataset: TrainSet, world_size: int = 1) -> Sampler:
    """The sampler of `SEEK.SAMPLER`, else the one that stands for fast-reid's
    `DATALOADER.SAMPLER_TRAIN`.

    Raises:
        UsageError: unknown, or it cannot make such batches; says the legal values.
    """
    call = cfg.SEEK.SAMPLER or _fastreid_sampler(cfg)
    try:
        return build(
            call,
            SAMPLERS,
            labels=dataset.labels,
            groups=dataset.groups,
            batch_size=cfg.SOLVER.IMS_PER_BATCH,
            # The batch of all processes: how many there are decides nothing of what stands in it.
            world_size=world_size,
            seed=_loader_seed(cfg),
        )
    except UsageError as error:
        raise UsageError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} with sampler {error}"
        ) from error


def fit_batch_size(cfg: Any, items: Sequence[Item]) -> int:
    """The largest batch up to `SOLVER.IMS_PER_BATCH` that the recipe's sampler makes of these
    training images in one process; where there is none, what the recipe says.

    Raises:
        DataError: there are no images, or they have no labels.
    """
    dataset, wanted = TrainSet(items), int(cfg.SOLVER.IMS_PER_BATCH)
    made = cfg.clone()
    made.defrost()
    made.SEED = max(0, made.SEED)  # it decides nothing here, and may not be drawn yet
    for size in range(wanted, 0, -1):
        made.SOLVER.IMS_PER_BATCH = size
        with contextlib.suppress(UsageError):
            build_sampler(made, dataset)
            return size
    return wanted


def _fastreid_sampler(cfg: Any) -> str:
    name, k = cfg.DATALOADER.SAMPLER_TRAIN, cfg.DATALOADER.NUM_INSTANCE
    known = {
        "TrainingSampler": "shuffle()",
        "NaiveIdentitySampler": f"pk(k={k})",
        "BalancedIdentitySampler": f"balanced_pk(k={k})",
        "ImbalancedDatasetSampler": "imbalanced()",
    }
    if name == "SetReWeightSampler":
        raise UsageError(
            "DATALOADER.SAMPLER_TRAIN SetReWeightSampler cannot run, nor does it in fast-reid"
            f" 1.4.0 (it adds an array to a list); use one of {', '.join(known)}"
        )
    if name not in known:
        raise UsageError(f"DATALOADER.SAMPLER_TRAIN {name!r} is none of {', '.join(known)}")
    return known[name]


def build_transforms(cfg: Any, train: bool) -> Callable:
    """PIL RGB image -> float32 tensor: `SEEK.TRAIN` / `SEEK.TEST`, or fast-reid's own from its
    INPUT flags.

    fast-reid's RPT (random patch) keeps a pool of earlier images, so with it a batch depends on
    those before.

    Raises:
        UsageError: an unknown transform or a value it refuses.
    """
    calls = cfg.SEEK.TRAIN if train else cfg.SEEK.TEST
    if calls:
        return compose(calls)
    if not (train and cfg.INPUT.AFFINE.ENABLED):
        return fastreid_transforms(cfg, is_train=train)
    plain = cfg.clone()
    plain.defrost()
    plain.INPUT.AFFINE.ENABLED = False
    parts = list(fastreid_transforms(plain, is_train=True).transforms)
    place = next(
        number for number, part in enumerate(parts) if isinstance(part, (AugMix, ToTensor))
    )
    # fast-reid's own call names arguments that torchvision has removed; these are the same values
    parts.insert(place, legacy.RandomAffine(degrees=10, scale=(0.9, 1.1), shear=0.1, fill=0))
    return legacy.Compose(parts)


def _prepare_files(
    cfg: Any, items: Sequence[Item], train: bool
) -> tuple[ImageFiles, Callable[[Image.Image], torch.Tensor]]:
    """The files, with the cache of what is done once, and what is done to an image every time.

    Raises:
        UsageError: SEEK.CROPS with SEEK.CACHE, whose images are cut or stretched already.
        DataError: as the cropping part does; or no training image has a box.
    """
    paths, limit = paths_of(items), cfg.SEEK.MAX_PIXELS
    calls = cfg.SEEK.TRAIN if train else cfg.SEEK.TEST
    if cfg.SEEK.CROPS:
        if cfg.SEEK.CACHE:
            raise UsageError(
                "SEEK.CROPS cuts images as they are in their files, SEEK.CACHE keeps changed ones:"
                " leave one of the two empty"
            )
        boxes = _find_boxes(cfg.SEEK.CROPS, items, needed=train)
        return ImageFiles(paths, limit, boxes=boxes), build_transforms(cfg, train)
    if train:
        _tell_unused_boxes(items)
    if not cfg.SEEK.CACHE:
        return ImageFiles(paths, limit), build_transforms(cfg, train)
    once, every_time = split_fixed(calls)
    cache = cache_images(cfg.SEEK.CACHE, paths, once, limit)
    return ImageFiles(paths, limit, cache), compose(every_time)


def _tell_unused_boxes(items: Sequence[Item]) -> None:
    """Log that images have boxes, as a column of a manifest gives them, and nothing cuts them."""
    if isinstance(items, ItemTable) and "box" not in items.details.meta:
        return
    count = sum(bool(item.meta.get("box")) for item in items)
    if count:
        logger.warning(
            '%d of %d images have a box that nothing uses: SEEK.CROPS "boxes()" gives the model what'
            " is inside as a second view",
            count,
            len(items),
        )


def _find_boxes(call: str, items: Sequence[Item], needed: bool) -> np.ndarray:
    """Where a member of CROPS cuts every image, float32 [N, 4]."""
    boxes = build(call, CROPS)(items)
    if needed and np.isnan(boxes).all():
        raise DataError(
            f"SEEK.CROPS {call}: none of {len(items)} training images has a box, such as "
            f"{items[0].id}: are the names in the file those of the images?"
        )
    return boxes


def _loader_seed(cfg: Any) -> int:
    if cfg.SEED < 0:
        raise UsageError(
            f"SEED {cfg.SEED}: draw a seed for all processes before the loader is built"
        )
    return int(cfg.SEED)


def _fails(cfg: Any) -> bool:
    if cfg.SEEK.ON_BAD not in ("skip", "fail"):
        raise UsageError(f"SEEK.ON_BAD {cfg.SEEK.ON_BAD!r}: expected 'skip' or 'fail'")
    return cfg.SEEK.ON_BAD == "fail"


def _loader_options(cfg: Any, context: str | None) -> LoaderOptions:
    pin_memory = torch.cuda.is_available() and str(cfg.MODEL.DEVICE).startswith("cuda")
    return LoaderOptions(cfg.DATALOADER.NUM_WORKERS, pin_memory, context)
