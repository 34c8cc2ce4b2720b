"""A living index beside the exact search over the same vectors: adding, searching, opening again.

    python benchmarks/living_index.py --out benchmarks/results/living_index.json

"add" puts all images into an empty index; "add one" and "delete one" change an index of that size, with
all that they write synced to the disk. "search" and "exact" answer one query with the 10 best: the first
call after opening, and the median of later ones. `exact(k=10)` is given embeddings that are open already.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import photos, seconds, write

from fastseek.index import Index
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

DIM, K, QUERIES, GROUPS = 128, 10, 20, 500


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100, 1_000, 10_000, 100_000])
    parser.add_argument("--engines", nargs="+", default=["flat", "hnsw", "ivf_rabitq"])
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    rows = []
    for engine in args.engines:
        # Below 20,000 images every engine is flat.
        for size in args.sizes if engine == "flat" else args.sizes[-1:]:
            rows.append(measure(engine, size))
            print(rows[-1], flush=True)
    what = f"a folder index of {DIM} numbers an image, one query, k={K}"
    write(args.out, what, ("numpy", "faiss-cpu"), rows)


def measure(engine: str, size: int) -> dict[str, Any]:
    """All figures of an index of one engine and size."""
    vectors = photos(size, DIM, 0, GROUPS)
    names = np.char.add("images/", np.char.zfill(np.arange(size).astype(str), 8))
    queries = photos(QUERIES, DIM, 1, GROUPS)
    with tempfile.TemporaryDirectory() as folder:
        index = Index.create(pathlib.Path(folder) / "i", engine=engine)
        row: dict[str, Any] = {"engine": engine, "images": size}
        row["add"] = seconds(lambda: index.add(names, vectors), runs=1)
        row["bytes an image"] = index.info()["bytes an image"]
        row["recall"] = index.info()["recall"]
        row["open"] = seconds(lambda: Index.open(index.folder), runs=5)
        opened = Index.open(index.folder)
        row["first search"] = seconds(lambda: opened.search(queries[:1], K), runs=1)
        row["search"] = answer_times(lambda query: opened.search(query, K), queries)
        gallery, exact = Embeddings(names, vectors), Exact(k=K)
        row["exact"] = answer_times(lambda query: exact(embed(query), gallery), queries)
        found, right = opened.search(queries, K), exact(embed(queries), gallery)
        row["recall of the queries"] = recall(found, right)
        row["add one"] = one_by_one(lambda n: index.add([f"new-{n}"], vectors[:1]))
        row["delete one"] = one_by_one(lambda n: index.delete([f"new-{n}"]))
    return row


def embed(queries: np.ndarray) -> Embeddings:
    return Embeddings(np.arange(len(queries)).astype(str), queries)


def answer_times(answer: Callable[[np.ndarray], Any], queries: np.ndarray) -> dict[str, float]:
    """Median milliseconds of one query each."""
    return one_by_one(lambda number: answer(queries[number : number + 1]), len(queries))


def one_by_one(work: Callable[[int], Any], runs: int = 9) -> dict[str, float]:
    """Median milliseconds of a few calls."""
    wall, cpu = [], []
    for number in range(runs):
        started, busy = time.perf_counter(), time.process_time()
        work(number)
        wall.append(1e3 * (time.perf_counter() - started))
        cpu.append(1e3 * (time.process_time() - busy))
    return {"ms": round(statistics.median(wall), 3), "cpu ms": round(statistics.median(cpu), 3)}


def recall(found: Any, right: Any) -> float:
    """The share of the right answers that was found."""
    hits = 0
    for mine, theirs in zip(found.indices, right.indices, strict=True):
        listed = found.gallery_ids[mine[mine >= 0]]
        hits += len(np.intersect1d(listed, right.gallery_ids[theirs]))
    return round(hits / max(1, right.indices.size), 4)


if __name__ == "__main__":
    main()
