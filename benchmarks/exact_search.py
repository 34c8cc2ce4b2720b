"""The k best of a gallery: ours in every precision against faiss IndexFlatIP, side by side, with
its indexes if asked.

    python benchmarks/exact_search.py --sizes 100000 --out benchmarks/results/exact_search.json

Ours begin with vectors as they come: reading, checking and normalising is in their time; faiss is
    given unit vectors.
"Prepare" is what is done once for a gallery. Memory is what a process of its own holds beside the
vectors on disk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from measure import held_megabytes, photos, write

from fastseek.registry import SEARCHERS, build
from fastseek.search._faiss_index import FaissIndex
from fastseek.search.quantized import Quantized
from fastseek.structures import Embeddings

PEER = "faiss IndexFlatIP"
OURS = (
    "exact(k={k}, metric='ip', scan='float32')",
    "exact(k={k}, scan='float32')",
    "exact(k={k}, scan='bfloat16')",
    "quantized(k={k}, storage='bfloat16')",
    "quantized(k={k}, storage='int8')",
    "quantized(k={k}, storage='int8', rescore=4)",
)
APPROXIMATE = ("faiss_ivf(k={k}, probes=32)", "faiss_hnsw(k={k})", "faiss_pq(k={k})")
Found = np.ndarray


def embeddings(path: pathlib.Path, prefix: str) -> Embeddings:
    vectors = np.load(path, mmap_mode="r")
    return Embeddings(np.char.add(prefix, np.arange(len(vectors)).astype(str)), vectors)


class Engine:
    """One way to search: what is done once, and the search."""

    def __init__(self, name: str, folder: pathlib.Path, k: int) -> None:
        self.name, self.k = name, k
        self.queries, self.gallery = (
            embeddings(folder / f"{side}.npy", side[0]) for side in ("queries", "gallery")
        )
        self.index = faiss.IndexFlatIP(self.gallery.dim) if name == PEER else build(name, SEARCHERS)

    def prepare(self) -> None:
        if self.name == PEER:
            self.index.reset()
            self.index.add(np.asarray(self.gallery.vectors))
        elif isinstance(self.index, Quantized | FaissIndex):
            self.index(few(self.queries, 1), self.gallery)

    def search(self, count: int | None = None) -> Found:
        queries = few(self.queries, count or len(self.queries))
        if self.name == PEER:
            return self.index.search(np.asarray(queries.vectors), self.k)[1]
        return self.index(queries, self.gallery).indices


def few(some: Embeddings, count: int) -> Embeddings:
    return Embeddings(some.ids[:count], some.vectors[:count])


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU seconds, wall-clock seconds and what came out."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = work()
    return time.process_time() - cpu, time.perf_counter() - wall, out


def compare(count: int, runs: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row an engine; the runs of all engines take turns, so that a busy machine is busy for
    all.
    """
    names = [PEER, *OURS, *(APPROXIMATE if args.approximate else ())]
    with tempfile.TemporaryDirectory() as home:
        folder = pathlib.Path(home)
        np.save(folder / "gallery.npy", photos(count, args.dim, 0, max(2, count // 50)))
        np.save(folder / "queries.npy", photos(args.queries, args.dim, 1, max(2, count // 50)))
        taken: dict[str, list[Any]] = {name: [] for name in names}
        engines = {name: Engine(name.format(k=args.k), folder, args.k) for name in names}
        once = {name: timed(engine.prepare) for name, engine in engines.items()}
        for engine in engines.values():
            engine.search(count=20)  # whoever is first would else pay for cold memory
        found: dict[str, Found] = {}
        for _ in range(runs):
            for name, engine in engines.items():
                cpu, wall, found[name] = timed(engine.search)
                taken[name].append((cpu, wall))
        right = found[OURS[0]]
        rows = []
        for name, engine in engines.items():
            cpu, wall = (statistics.median(column) for column in zip(*taken[name], strict=True))
            hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found[name], right, strict=True))
            rows.append(
                {
                    "engine": engine.name,
                    "gallery": count,
                    "queries": args.queries,
                    "dim": args.dim,
                    "prepare CPU s": round(once[name][0], 2),
                    "search CPU s": round(cpu, 3),
                    "search wall s": round(wall, 3),
                    "recall": round(hits / right.size, 4),
                    "runs": runs,
                    "memory MB": held(engine.name, folder, args.k),
                }
            )
    peer = rows[0]["search CPU s"]
    return [row | {"by faiss": round(row["search CPU s"] / peer, 2)} for row in rows]


def held(name: str, folder: pathlib.Path, k: int) -> float:
    """Most megabytes of its own that a fresh process holds above what it held before, to prepare
    and search.
    """
    command = [sys.executable, __file__, "--held", name, str(folder), str(k)]
    return float(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    )


def watch(name: str, folder: pathlib.Path, k: int) -> None:
    """Print what `held` asks for."""
    if "float32" not in name and name != PEER:
        import torch  # noqa: F401  (its own memory is none of the search's)
    engine = Engine(name, folder, k)

    def work() -> None:
        engine.prepare()
        engine.search()

    print(held_megabytes(work))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000], help="gallery images")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument(
        "--runs",
        type=int,
        nargs="+",
        default=[3],
        help="runs of every engine, of which the median counts: one number, or one a size",
    )
    parser.add_argument("--approximate", action="store_true", help="faiss IVF, HNSW and PQ too")
    parser.add_argument("--out", help="JSON file")
    parser.add_argument(
        "--held", nargs=3, metavar=("ENGINE", "FOLDER", "K"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.held:
        watch(args.held[0], pathlib.Path(args.held[1]), int(args.held[2]))
        return
    faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    table = []
    for count, runs in itertools.zip_longest(
        args.sizes, args.runs[: len(args.sizes)], fillvalue=args.runs[-1]
    ):
        for row in compare(count, runs, args):
            table.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        write(
            args.out,
            f"the {args.k} best of a gallery for every query",
            ("numpy", "torch", "faiss-cpu"),
            table,
        )


if __name__ == "__main__":
    main()
