"""Photos a second: our reading path beside fast-reid's, on the same photos in the same run.

    python benchmarks/loader.py --out benchmarks/results/loader.json

Both sides read, turn upright, scale to the same size, mirror by chance and stack float batches with
their labels. fast-reid's own loader class needs CUDA, so its data set, reader, transforms and
collator run in torch's DataLoader.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from measure import write
from torch.utils.data import DataLoader

import fastseek.compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.config.keys import add_seek_config
from fastseek.data.builders import build_train_loader
from fastseek.data.fastreid_datasets import resolve

from fastreid.config import get_cfg
from fastreid.data.build import fast_batch_collator
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms


def recipe(size: int, workers: int, batch: int) -> Any:
    """fast-reid's config with our keys, and transforms of the same meaning for both sides."""
    cfg = get_cfg()
    add_seek_config(cfg)
    cfg.DATASETS.NAMES = ("Grocery",)
    cfg.INPUT.SIZE_TRAIN = [size, size]
    cfg.INPUT.FLIP.ENABLED = True
    cfg.SEEK.TRAIN = [f"resize({size})", "hflip(0.5)"]
    cfg.SOLVER.IMS_PER_BATCH = batch
    cfg.DATALOADER.NUM_WORKERS = workers
    return cfg


def ours(cfg: Any, batches: int) -> Iterator[int]:
    """Photos in each batch, read our way."""
    for _, batch in zip(range(batches), build_train_loader(cfg), strict=False):
        yield len(batch["images"])


def theirs(cfg: Any, batches: int) -> Iterator[int]:
    """Photos in each batch, read fast-reid's way, in a shuffled order."""
    items = [
        (item.path, item.label, item.group) for item in resolve("Grocery") if item.split == "train"
    ]
    data = CommDataset(items, build_transforms(cfg, is_train=True), relabel=True)
    order = (
        np.random.default_rng(0).permutation(len(items)).tolist()
    )  # more than are taken: workers read ahead
    loader = DataLoader(
        data,
        cfg.SOLVER.IMS_PER_BATCH,
        sampler=order,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=fast_batch_collator,
    )
    for _, batch in zip(range(batches), loader, strict=False):
        yield len(batch["images"])


def measured(
    read: Callable[[Any, int], Iterator[int]], cfg: Any, batches: int
) -> tuple[float, float]:
    """Photos a second after the first batch, which starts the workers; CPU milliseconds a photo,
    workers included.
    """
    busy = cpu_seconds()
    stream = read(cfg, batches)
    first = next(stream)
    start = time.perf_counter()
    photos = sum(stream)
    rate = photos / (time.perf_counter() - start)
    del stream
    gc.collect()  # ends the workers, whose CPU time is known only then
    return rate, 1000 * (cpu_seconds() - busy) / (first + photos)


def cpu_seconds() -> float:
    """Of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def compare(workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Medians of runs that alternate between the two sides, so that a busy machine hinders both."""
    cfg = recipe(options.size, workers, options.batch)
    batches = options.photos // options.batch
    for read in (theirs, ours):
        measured(read, cfg, batches)  # the files come into the system's memory
    runs = [
        (*measured(ours, cfg, batches), *measured(theirs, cfg, batches))
        for _ in range(options.runs)
    ]
    rate, busy, other_rate, other_busy = (
        statistics.median(run[column] for run in runs) for column in range(4)
    )
    return {
        "workers": workers,
        "size": options.size,
        "batch": options.batch,
        "photos": options.photos,
        "runs": options.runs,
        "ours": {"photos_per_second": round(rate), "cpu_ms_per_photo": round(busy, 2)},
        "fastreid": {
            "photos_per_second": round(other_rate),
            "cpu_ms_per_photo": round(other_busy, 2),
        },
        "ours_by_fastreid": {
            "photos_per_second": round(statistics.median(run[0] / run[2] for run in runs), 2),
            "cpu": round(statistics.median(run[3] / run[1] for run in runs), 2),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=640, help="photos a run")
    parser.add_argument(
        "--size", type=int, default=224, help="side of the square they are scaled to"
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--runs", type=int, default=5, help="runs of each side, of which the median counts"
    )
    parser.add_argument("--out", help="JSON file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = [compare(workers, options) for workers in (0, 2)]
    for row in rows:
        print(
            f"{row['workers']} workers: ours {row['ours']}, fast-reid {row['fastreid']}, "
            f"ours by fast-reid {row['ours_by_fastreid']}"
        )
    write(
        options.out,
        "photos a second into training batches (Grocery, JPEG 348 x 348)",
        ("torch", "torchvision", "numpy", "pillow", "fastreid"),
        rows,
    )


if __name__ == "__main__":
    main()
