"""What a training list of millions of rows takes: reading it, opening it again, and training with
loader workers.

    python benchmarks/manifest_memory.py --out benchmarks/results/manifest_memory.json

The list is made up in the form and size of GLDv2's train.csv. Memory is the proportional set size
(pages that several processes share count once) of the training process and its loader workers
together, less what the same processes take with a list of 1,000 rows: Python and torch are no part
of the list. No photo is decoded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from measure import held_megabytes, write
from PIL import Image

import fastseek.compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.config.keys import add_seek_config
from fastseek.data import builders
from fastseek.data.datasets.gldv2 import Gldv2
from fastseek.data.torch_datasets import TrainImages
from fastseek.structures import Item

from fastreid.config import get_cfg

CLASSES = 203_094
SMALL = 1_000


class Drawn(TrainImages):
    """Training images that are drawn and not read; their paths are made as for any."""

    def read_or_reject(self, row: int, rejects: list[dict[str, Any]]) -> Image.Image | None:
        """A plain image whose color tells its name."""
        return Image.new("RGB", (32, 32), tuple(self.files.path(row).encode()[-7:-4]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[200_000, 4_132_914], help="rows of the lists"
    )
    parser.add_argument("--workers", type=int, default=2, help="loader workers")
    parser.add_argument("--out", help="a JSON file")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        task, folder, workers, context = args.one
        print(json.dumps(TASKS[task](pathlib.Path(folder), int(workers), context)))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(pathlib.Path(folder), count, args.workers) for count in args.rows]
    for one in rows:
        print(json.dumps(one))
    write(args.out, "a training list as columns: seconds and megabytes", ("numpy", "torch"), rows)


def row(home: pathlib.Path, count: int, workers: int) -> dict[str, Any]:
    """All measurements of one length."""
    for size in (SMALL, count):
        if not (home / str(size)).exists():
            make(home / str(size), size)
    first, again, listed = (
        measured(task, home / str(count)) for task in ("read", "open", "listed")
    )
    made: dict[str, Any] = {
        "rows": count,
        "classes": CLASSES,
        "workers": workers,
        "first_reading": first,
        "opening_again": again,
        "list_of_items": listed,
    }
    for context in ("fork", "spawn"):
        measured("read", home / str(SMALL))
        bare = measured("train", home / str(SMALL), workers, context)
        full = measured("train", home / str(count), workers, context)
        made[f"training_{context}"] = {
            "megabytes": round(full["megabytes"] - bare["megabytes"], 1),
            "seconds_to_first_batch": full["seconds"],
            "a_workers_share": round(full["worker"] - bare["worker"], 1),
        }
    return made


def make(folder: pathlib.Path, count: int) -> None:
    """A train.csv of `count` rows, its classes as uneven as the real ones."""
    folder.mkdir()
    random = np.random.default_rng(0)
    landmarks = (CLASSES * random.random(count) ** 3).astype(int)
    names = random.integers(0, 1 << 62, count)
    with open(folder / "train.csv", "w", encoding="utf-8") as file:
        file.write("id,url,landmark_id\n")
        file.writelines(
            f"{name:016x},https://upload.wikimedia.org/wikipedia/commons/0/00/{name}_photo.jpg,{landmark}\n"
            for name, landmark in zip(names.tolist(), landmarks.tolist(), strict=True)
        )


def measured(
    task: str, folder: pathlib.Path, workers: int = 0, context: str = "fork"
) -> dict[str, float]:
    """What a task says that is done in a process of its own."""
    command = [sys.executable, __file__, "--one", task, str(folder), str(workers), context]
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )


def opened(folder: pathlib.Path, **options: Any) -> Gldv2:
    return Gldv2(str(folder), kind="full", **{"cache": str(folder / "cache"), **options})


def read(folder: pathlib.Path, workers: int, context: str) -> dict[str, float]:
    """Read the list; the most this process held at once above what it held before."""
    started = time.perf_counter()
    peak = held_megabytes(lambda: opened(folder))
    return {"seconds": round(time.perf_counter() - started, 2), "peak_megabytes": peak}


def listed(folder: pathlib.Path, workers: int, context: str) -> dict[str, float]:
    """The same rows as a list of Item, for comparison; of at most 200,000 rows."""
    items = opened(folder).items[:200_000]
    before = proportional(os.getpid())
    held: list[Item] = list(items)
    return {"rows": len(held), "megabytes": round(proportional(os.getpid()) - before, 1)}


def train(folder: pathlib.Path, workers: int, context: str) -> dict[str, float]:
    """Open the list, build the recipe's loader, take batches, and look at all processes."""
    cfg = get_cfg()
    add_seek_config(cfg)
    cfg.DATASETS.NAMES = (f"gldv2({str(folder)!r}, kind='full', cache={str(folder / 'cache')!r})",)
    cfg.SEEK.TRAIN, cfg.SOLVER.IMS_PER_BATCH, cfg.SEED = ["resize(32)"], 64, 1
    cfg.DATALOADER.NUM_WORKERS, cfg.OUTPUT_DIR = workers, str(folder)
    started = time.perf_counter()
    builders.TrainImages = Drawn
    batches = iter(builders.build_train_loader(cfg, context=context))
    next(batches)
    spent = time.perf_counter() - started
    for _ in range(200):
        next(batches)
    crew = [child.pid for child in multiprocessing.active_children()]
    each = [proportional(pid) for pid in crew]
    found = {
        "megabytes": proportional(os.getpid()) + sum(each),
        "worker": sum(each) / max(1, len(each)),
        "seconds": round(spent, 2),
    }
    batches.close()
    return found


def proportional(process: int) -> float:
    """Megabytes of a process, every page divided by how many share it."""
    lines = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("Pss:"))


TASKS = {"read": read, "open": read, "listed": listed, "train": train}

if __name__ == "__main__":
    main()
