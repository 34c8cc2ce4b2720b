"""Batches for training and for embedding, from a recipe."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torchvision import transforms as legacy

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import DataError, UsageError
from ..registry import CROPS, SAMPLERS, build
from ..structures import Item, paths_of, with_split
from .fastreid_datasets import resolve
from .image_cache import ArrayCache, cache_images, split
from .label_index import TrainSet
from .loaders import TestLoader, TrainLoader
from .rejects import RejectLog
from .torch_datasets import TestPhotos, TrainPhotos
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
        DataError: no photos, or photos without labels.
    """
    seed = _loader_seed(cfg)
    dataset = TrainSet(_trained_on(cfg))
    logger.info(
        "training on %d photos of %d classes, %d cameras",
        len(dataset),
        dataset.num_classes,
        dataset.num_cameras,
    )
    sampler = build_sampler(cfg, dataset, world_size)
    budget = max(10, int(cfg.SEEK.MAX_BAD * len(dataset)))
    paths = paths_of(dataset.items)
    transform, cache = _prepare_cache(cfg, paths, True)
    photos = TrainPhotos(
        paths,
        transform,
        cfg.SEEK.MAX_PIXELS,
        dataset.labels,
        seed,
        budget,
        cache,
        boxes_of(cfg, dataset.items, needed=True),
    )
    log = RejectLog(os.path.join(cfg.OUTPUT_DIR, "rejects.csv"), budget, _fails(cfg))
    return TrainLoader(dataset, sampler, photos, log, rank, world_size, _options(cfg, context))


def build_test_loader(
    cfg: Any,
    items: Sequence[Item],
    *,
    rank: int = 0,
    world_size: int = 1,
    start: int = 0,
    context: str | None = None,
) -> TestLoader:
    """Batches of items in their order; process `rank` gets one contiguous run of items `start` … N
    - 1.

    Args:
        cfg: fast-reid's config with our keys.
        items: what to embed.
        rank, world_size: this process and how many there are.
        start: items before it are left out.
        context: how workers start ("fork", "spawn"); the platform's way when not given.
    """
    size = cfg.TEST.IMS_PER_BATCH // world_size
    if size < 1:
        raise UsageError(
            f"TEST.IMS_PER_BATCH {cfg.TEST.IMS_PER_BATCH}: expected at least {world_size}, one a"
            " process"
        )
    paths = paths_of(items)
    transform, cache = _prepare_cache(cfg, paths, False)
    photos = TestPhotos(
        paths, transform, cfg.SEEK.MAX_PIXELS, "extract", cache, boxes_of(cfg, items)
    )
    return TestLoader(
        items,
        photos,
        shard(len(items), rank, world_size, start),
        size,
        _fails(cfg),
        _options(cfg, context),
    )


def _trained_on(cfg: Any) -> Sequence[Item]:
    """The training photos of all data sets; those of a single one as it holds them."""
    found = [with_split(resolve(name, cfg), "train") for name in cfg.DATASETS.NAMES]
    return found[0] if len(found) == 1 else [item for items in found for item in items]


def shard(count: int, rank: int, world_size: int, start: int = 0) -> range:
    """Run `rank` of `world_size` of the numbers start … count - 1; lengths differ by one at
    most.
    """
    length = max(0, count - start)
    return range(start + length * rank // world_size, start + length * (rank + 1) // world_size)


def build_sampler(cfg: Any, dataset: TrainSet, world_size: int = 1) -> Any:
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
            world_size=world_size,
            seed=_loader_seed(cfg),
        )
    except UsageError as error:
        raise UsageError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} with sampler {error}"
        ) from error


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

    fast-reid's RPT (random patch) keeps a pool of earlier photos, so with it a batch depends on
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


def boxes_of(cfg: Any, items: Sequence[Item], needed: bool = False) -> np.ndarray | None:
    """Where SEEK.CROPS cuts every photo; None without it.

    Raises:
        UsageError: with SEEK.CACHE, whose photos are cut or stretched already.
        DataError: as the part does; or boxes are `needed`, and no photo has one.
    """
    if cfg.SEEK.CROPS and cfg.SEEK.CACHE:
        raise UsageError(
            "SEEK.CROPS cuts photos as they are in their files, SEEK.CACHE keeps changed ones:"
            " leave one of the two empty"
        )
    found = build(cfg.SEEK.CROPS, CROPS)(items) if cfg.SEEK.CROPS else None
    if needed and found is not None and np.isnan(found).all():
        raise DataError(
            f"SEEK.CROPS {cfg.SEEK.CROPS}: none of {len(items)} training photos has a box, such as "
            f"{items[0].id}: are the names in the file those of the photos?"
        )
    return found


def _prepare_cache(
    cfg: Any, paths: Sequence[str], train: bool
) -> tuple[Callable, ArrayCache | None]:
    """What is done to a photo in every epoch, and the cache with what is done once."""
    if not cfg.SEEK.CACHE:
        return build_transforms(cfg, train), None
    once, rest = split(cfg.SEEK.TRAIN if train else cfg.SEEK.TEST)
    return compose(rest), cache_images(cfg.SEEK.CACHE, paths, once, cfg.SEEK.MAX_PIXELS)


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


def _options(cfg: Any, context: str | None) -> dict[str, Any]:
    workers = cfg.DATALOADER.NUM_WORKERS
    pin = torch.cuda.is_available() and str(cfg.MODEL.DEVICE).startswith("cuda")
    return {
        "num_workers": workers,
        "pin_memory": pin,
        "multiprocessing_context": context if workers else None,
    }
