"""How bytes and seconds grow with the number of images: what `fastseek plan` reckons with.

    python benchmarks/growth.py --out benchmarks/results/growth.json
    python benchmarks/growth.py --ship     # these and other results to plugins/fastseek/costs/growth.json

A folder of embeddings with its ids, the exact search, and the structures of the index, each at several
sizes and widths, over made-up vectors. Bytes of a structure are those it adds to the vectors; queries
are asked one by one for their 10 best; recall is that of the queries, against the exact search; held bytes are what a
process that opens an index and asks it once takes, mapped files left out.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from measure import anonymous, photos, write

from fastseek.costs.growth import SHIPPED
from fastseek.index import Index
from fastseek.io.json_files import read_json, write_json
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

RESULTS = pathlib.Path(__file__).parent / "results"
FIGURES = ("bytes", "held bytes", "files", "build cpu s", "open cpu s", "query cpu ms", "recall")
K, QUERIES, GROUPS = 10, 20, 500
FOLDERS = ((10_000, 128), (100_000, 128), (100_000, 256), (1_000_000, 128))
LISTS = {"faiss_hnsw": "hnsw", "faiss_ivf_rabitq": "ivf_rabitq"}  # of faiss_on_disk.py
STRUCTURES = ((25_000, 128), (25_000, 256), (100_000, 128))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", help="a JSON file")
    parser.add_argument("--ship", action="store_true", help="gather what the package reckons with")
    parser.add_argument("--held", metavar="INDEX", help="tell what opening an index takes")
    parser.add_argument("--dim", type=int, default=128)
    args = parser.parse_args()
    if args.held:
        print(open_and_search(args.held, args.dim))
        return
    if args.ship:
        write_json(SHIPPED, gather())
        return
    rows: list[dict[str, Any]] = []
    for size, dim in FOLDERS:
        rows.append(measure_folder(size, dim))
        print(rows[-1], flush=True)
    for engine in ("flat", "hnsw", "ivf_rabitq"):
        for size, dim in STRUCTURES:
            rows.append(measure_index(engine, size, dim))
            print(rows[-1], flush=True)
    what = f"embeddings folders, and indexes asked for the {K} best of one query"
    write(args.out, what, ("numpy", "faiss-cpu"), rows)


def gather() -> dict[str, Any]:
    """What the package reckons with, out of the results of this and other benchmarks."""
    rows = [*_structures(), *_exact(), *_k_reciprocal(), *_lists()]
    return {"rows": sorted(rows, key=lambda row: (row["engine"], row["dim"], row["images"]))}


def _row(engine: str, images: int, dim: int, source: str, **figures: float) -> dict[str, Any]:
    told = {key.replace("_", " "): round(value, 4) for key, value in figures.items()}
    return {"engine": engine, "images": images, "dim": dim, "figures": told, "source": source}


def _structures() -> Iterator[dict[str, Any]]:
    rows = read("growth.json")
    flat = {(row["images"], row["dim"]): row["bytes"] for row in rows if row["engine"] == "flat"}
    for row in rows:
        size = row["images"], row["dim"]
        figures = {key.replace(" ", "_"): row[key] for key in FIGURES if key in row}
        if row["engine"] not in ("folder", "flat"):
            figures["bytes"] -= flat[size]  # what the structure adds
        yield _row(row["engine"], *size, "growth.json", **figures)


def _exact() -> Iterator[dict[str, Any]]:
    for source in ("exact_search.json", "exact_search_million.json"):
        for row in read(source):
            if row["engine"] == "exact(k=100, scan='float32')":
                each = 1e3 * row["search CPU s"] / row["queries"]
                yield _row("exact", row["gallery"], row["dim"], source, query_cpu_ms=each)


def _k_reciprocal() -> Iterator[dict[str, Any]]:
    for source in ("k_reciprocal.json", "k_reciprocal_large.json", "k_reciprocal_million.json"):
        for row in read(source):
            if row["images"] >= 100_000 and row["k1"] == 20:
                held = 1e6 * row["peak_megabytes"]["ours"]
                yield _row(
                    "k_reciprocal", row["images"], 512, source, cpu_s=row["ours"]["cpu"], bytes=held
                )


def _lists() -> Iterator[dict[str, Any]]:
    """Queries among many, and building, of the structures that an index is made of, too."""
    for row in read("faiss_on_disk.json"):
        engine = LISTS.get(row["engine"])
        if engine is None:
            continue
        figures = {"query_among_many,_cpu_ms": row["search CPU s"], "recall": row["recall@10"]}
        if row["images"] > max(size for size, _ in STRUCTURES):
            figures["build_cpu_s"] = row["build CPU s"]
        yield _row(engine, row["images"], 128, "faiss_on_disk.json", **figures)


def read(source: str) -> list[dict[str, Any]]:
    """The rows of a file of benchmarks/results."""
    rows: list[dict[str, Any]] = read_json(RESULTS / source)["rows"]
    return rows


def name(row: int) -> str:
    """An id of 29 letters, as paths of images are."""
    return f"{row % 16:x}/{row % 251:03d}/{row // 4:015d}-{row % 4:02d}.jpg"


def measure_folder(size: int, dim: int) -> dict[str, Any]:
    """A folder of embeddings: bytes, files, seconds to write and to open, and an exact search."""
    vectors = photos(size, dim, 0, GROUPS)
    names = [name(row) for row in range(size)]
    queries = Embeddings([f"q{row}" for row in range(QUERIES)], photos(QUERIES, dim, 1, GROUPS))
    with tempfile.TemporaryDirectory() as home:
        folder = pathlib.Path(home) / "e"
        row: dict[str, Any] = {"engine": "folder", "images": size, "dim": dim}
        row["letters an id"] = len(names[0])
        row["build cpu s"] = cpu(lambda: Embeddings(names, vectors).save(folder))
        files = [path for path in folder.iterdir() if path.is_file()]
        row["files"] = len(files)
        held = sum(path.stat().st_size for path in files)
        row["bytes"] = held
        row["open cpu s"] = cpu(lambda: Embeddings.load(folder))
        gallery = Embeddings.load(folder)
        np.asarray(gallery.vectors[:1])  # compared with its hash once
        Exact(K)(queries, gallery)
        row["query cpu ms"] = round(cpu(lambda: Exact(K)(queries, gallery)) * 1e3 / QUERIES, 3)
    return row


def measure_index(engine: str, size: int, dim: int) -> dict[str, Any]:
    """An index: seconds to build, the bytes of its structure, milliseconds a query, recall."""
    vectors = photos(size, dim, 0, GROUPS)
    names = np.array([name(row) for row in range(size)])
    queries = photos(QUERIES, dim, 1, GROUPS)
    with tempfile.TemporaryDirectory() as home:
        index = Index.create(pathlib.Path(home) / "i", engine=engine)
        row: dict[str, Any] = {"engine": engine, "images": size, "dim": dim}
        row["build cpu s"] = cpu(lambda: index.add(names, vectors))
        row["bytes"] = sum(
            os.path.getsize(path) for path in index.folder.rglob("*") if path.is_file()
        )
        row["held bytes"] = held_by(index.folder, dim)
        row["query cpu ms"] = round(
            1e3
            * statistics.median(
                cpu(functools.partial(index.search, one[None], K)) for one in queries
            ),
            3,
        )
        found = index.search(queries, K)
        right = Exact(K)(
            Embeddings([f"q{row}" for row in range(QUERIES)], queries), Embeddings(names, vectors)
        )
        hits = sum(
            len(np.intersect1d(found.gallery_ids[mine[mine >= 0]], right.gallery_ids[theirs]))
            for mine, theirs in zip(found.indices, right.indices, strict=True)
        )
        row["recall"] = round(hits / (QUERIES * K), 4)
    return row


def held_by(folder: pathlib.Path, dim: int) -> float:
    """Bytes that a new process takes to open an index and ask it once."""
    command = [sys.executable, __file__, "--held", str(folder), "--dim", str(dim)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def open_and_search(folder: str, dim: int) -> float:
    """Bytes that this process takes for it."""
    small = np.eye(40, dim, dtype=np.float32)
    with tempfile.TemporaryDirectory() as home:  # loads what is loaded at the first search
        first = Index.create(pathlib.Path(home) / "i", engine="flat")
        first.add(np.arange(40).astype(str), small)
        first.search(small[:1], K)
    before = anonymous()
    Index.open(folder).search(small[:1], K)
    return 1e6 * max(0.1, anonymous() - before)


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of some work."""
    started = time.process_time()
    work()
    return round(time.process_time() - started, 4)


if __name__ == "__main__":
    main()
