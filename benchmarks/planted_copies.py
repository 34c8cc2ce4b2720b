"""Copies planted among images of groceries: how many `audit duplicates` finds, and how many more.

    python benchmarks/planted_copies.py --images DIR --out benchmarks/results/planted_copies.json

One image of every class is there, chosen by a seed, so that no two show the same product; with --random
so many images of any class, of which several do, some on the same shelf. Each stands again as a crop
of 80 to 90 % of its sides, as a JPEG of quality 30, and mirrored. All are embedded by the default
model. A pair is right when both are of one original; recall counts all six pairs of the four. "as found"
takes pairs as the table tells them, "by cluster" all pairs within one cluster. "agreement" compares pixels,
as `audit duplicates` does where it has the images; with --features local features are compared, too.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from typing import Any

import numpy as np
from measure import write
from PIL import Image

import fastseek as fs
from fastseek.audit.copies import (
    Copies,
    check_copies,
    cluster_copies,
    compare_copies,
    find_copies,
)
from fastseek.cli._audit_copies import Side, make_check, make_comparison
from fastseek.knn.graph import build_knn_graph
from fastseek.structures import Embeddings

K, INLIERS, AGREEMENT = 10, 15, 0.75
LEAST = (0.8, 0.85, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", required=True, help="a folder with one folder a class")
    parser.add_argument("--random", type=int, default=0, metavar="N")
    parser.add_argument("--features", action="store_true", help="compare local features, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        random = np.random.default_rng(args.seed)
        plant(choose(pathlib.Path(args.images), args.random, random), folder, random)
        files = sorted(str(file) for file in folder.iterdir())
        embeddings = fs.embed(files, model="default")
        rows = judge(embeddings, folder, args.features)
    chosen = f"{args.random} at random" if args.random else "one a class"
    what = f"planted copies among {len(embeddings)} images ({chosen}), k={K}"
    write(args.out, what, ("numpy", "timm", "opencv-python-headless"), rows)


def choose(images: pathlib.Path, count: int, random: np.random.Generator) -> list[pathlib.Path]:
    """One image of every class, or `count` of any."""
    by_class: dict[pathlib.Path, list[pathlib.Path]] = {}
    files = sorted(images.rglob("*.jpg"))
    if count:
        return [files[row] for row in sorted(random.permutation(len(files))[:count].tolist())]
    for file in files:
        by_class.setdefault(file.parent, []).append(file)
    return [some[int(random.integers(len(some)))] for some in by_class.values()]


def plant(files: list[pathlib.Path], folder: pathlib.Path, random: np.random.Generator) -> None:
    """Write images and the three copies of each."""
    for number, file in enumerate(files):
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        width, height = image.size
        share = random.uniform(0.8, 0.9)
        left, top = (random.uniform(0, 1 - share) * side for side in (width, height))
        box = (left, top, left + share * width, top + share * height)
        image.save(folder / f"{number:03d}-as-is.png")
        image.crop(tuple(map(int, box))).save(folder / f"{number:03d}-crop.png")
        image.save(folder / f"{number:03d}-jpeg.jpg", quality=30)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{number:03d}-flip.png")


def judge(embeddings: Embeddings, folder: pathlib.Path, features: bool) -> list[dict[str, Any]]:
    """Recall and precision at several cosines, with and without a look at the images."""
    origin = np.array([pathlib.PurePath(name).name[:3] for name in embeddings.ids.tolist()])
    sides = [Side(embeddings.ids.tolist(), [folder], str(folder))]
    every = find_copies(build_knn_graph(embeddings, K), min(LEAST))
    began = time.process_time()
    every = compare_copies(every, make_comparison(sides)[0], -1)
    spent = {"pixels, CPU s a pair": round((time.process_time() - began) / len(every), 4)}
    ways = {"cosine alone": every.scores > 0, "agreement": every.agreement >= AGREEMENT}
    if features:
        began = time.process_time()
        every = check_copies(every, make_check(sides)[0], 0)
        spent["features, CPU s a pair"] = round((time.process_time() - began) / len(every), 4)
        ways["features"] = every.inliers >= INLIERS
    rows: list[dict[str, Any]] = []
    for least in LEAST:
        for way, good in ways.items():
            kept = every.take((every.scores >= least) & good)
            row: dict[str, Any] = {"cosine": least, "verified by": way}
            pairs = {"as found": (kept.first, kept.second)}
            pairs["by cluster"] = all_pairs(kept, len(origin))
            for name, found in pairs.items():
                row[name] = weigh(origin, *found)
            rows.append(row)
            print(row, flush=True)
    rows.append({"pairs": len(every), **spent})
    print(rows[-1])
    return rows


def weigh(origin: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Recall and precision of pairs."""
    right = int((origin[first] == origin[second]).sum())
    recall = right / (6 * len(np.unique(origin)))
    return {"recall": round(recall, 4), "precision": round(right / max(1, len(first)), 4)}


def all_pairs(copies: Copies, count: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs within the clusters."""
    pairs = [
        (cluster[i], cluster[j])
        for cluster in cluster_copies(copies, count)
        for i in range(len(cluster))
        for j in range(i + 1, len(cluster))
    ]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return first, second


if __name__ == "__main__":
    main()
