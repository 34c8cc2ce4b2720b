"""Inverted lists that stay on disk beside those in memory, a graph, and the exact search.

    python benchmarks/faiss_on_disk.py --sizes 100000 1000000 --out benchmarks/results/faiss_on_disk.json

Planted objects of 50 images each, around kinds of 40 objects each. Every engine builds in a process of its own and
searches in another one, which finds the index on disk. "build" is all until the first answer,
"open" all from there in the second process, with the reading of the gallery by which an index is
known again; "search" is that of 1,000 queries, warm, without the measuring of recall that some
engines do at every search. Memory is what a process of its own holds ("own") or maps ("mapped")
above what it held before the index.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from measure import anonymous, held_megabytes, write

from fastseek.io.json_files import read_json
from fastseek.registry import SEARCHERS, build
from fastseek.search._faiss_index import FaissIndex
from fastseek.structures import Embeddings

K, DIM, QUERIES = 10, 128, 1000
OBJECT, KIND, SPREAD = 50, 40, 0.6  # images an object, objects a kind, noise of each beside 1
ENGINES = {
    "exact": "exact(k={k})",
    "faiss_ivf": "faiss_ivf(k={k}, lists={lists}, probes=32, file={file!r})",
    "faiss_hnsw": "faiss_hnsw(k={k}, m=16, build=40, ef=128, file={file!r})",
    "faiss_ivf_rabitq, 1 bit": "faiss_ivf_rabitq(k={k}, bits=1, recall=0.95, file={file!r})",
    "faiss_ivf_rabitq": "faiss_ivf_rabitq(k={k}, recall=0.95, file={file!r})",
    "faiss_ivf_rabitq, recall 0.99": "faiss_ivf_rabitq(k={k}, recall=0.99, file={file!r})",
    "faiss_ivf_pq": "faiss_ivf_pq(k={k}, bytes_=32, recall=0.95, file={file!r})",
}
SAME_FILE = {"faiss_ivf_rabitq, recall 0.99": "faiss_ivf_rabitq"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--out", help="a JSON file")
    parser.add_argument("--one", nargs=3, metavar=("WORK", "CALL", "FOLDER"), help="of one process")
    args = parser.parse_args()
    if args.one:
        work, call, folder = args.one
        print(json.dumps(WORK[work](call, pathlib.Path(folder))))
        return
    rows: list[dict[str, Any]] = []
    if args.out and pathlib.Path(args.out).exists():  # others of the same stay
        rows = [row for row in read_json(args.out)["rows"] if not is_asked(row, args)]
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            np.save(folder / "gallery.npy", plant(size, size, 0))
            np.save(folder / "queries.npy", plant(QUERIES, size, 1))
            for engine in args.engines:
                rows.append(measure(engine, size, folder))
                print(rows[-1], flush=True)
                what = f"the {K} best of a gallery of {DIM} numbers an image, {QUERIES} queries"
                write(args.out, what, ("numpy", "faiss-cpu"), rows)


def is_asked(row: dict[str, Any], args: argparse.Namespace) -> bool:
    """Whether a row will be measured now."""
    return row["engine"] in args.engines and row["images"] in args.sizes


def plant(count: int, size: int, seed: int) -> np.ndarray:
    """Unit vectors [count, DIM] float32 of the objects that a gallery of `size` images has."""
    world, random = np.random.default_rng(7), np.random.default_rng(seed)
    kinds = world.standard_normal((max(2, size // OBJECT // KIND), DIM), np.float32)
    objects = np.repeat(kinds, KIND, axis=0)
    objects += SPREAD * world.standard_normal(objects.shape, np.float32)
    made = np.empty((count, DIM), np.float32)
    for start in range(0, count, 65536):
        shape = min(65536, count - start), DIM
        block = np.float32(SPREAD) * random.standard_normal(shape, np.float32)
        block += objects[random.integers(0, len(objects), len(block))]
        made[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return made


def measure(engine: str, size: int, folder: pathlib.Path) -> dict[str, Any]:
    """All figures of one engine and size."""
    file = folder / SAME_FILE.get(engine, engine).replace(", ", "-").replace(" ", "-")
    lists = max(1, round(2 * size**0.5))
    call = ENGINES[engine].format(k=K, lists=lists, file=str(file))
    row: dict[str, Any] = {"engine": engine, "images": size}
    if engine != "exact" and engine not in SAME_FILE:
        row |= run("build", call, folder)
        parts = [file.with_name(file.name + end) for end in ("", ".json", ".rows.npy")]
        written = sum(path.stat().st_size for path in parts if path.exists())
        row["bytes an image"] = round(written / size, 1)
    row |= run("search", call, folder)
    exact = folder / "exact.npy"
    found = np.load(folder / "found.npy")
    if engine == "exact":
        np.save(exact, found)
    if exact.exists():
        hits = [len(np.intersect1d(*pair)) for pair in zip(found, np.load(exact), strict=True)]
        row[f"recall@{K}"] = round(sum(hits) / found.size, 4)
    return row


def run(work: str, call: str, folder: pathlib.Path) -> dict[str, Any]:
    """What a process of its own measures."""
    command = [sys.executable, __file__, "--one", work, call, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def open_sides(folder: pathlib.Path) -> tuple[Embeddings, Embeddings]:
    queries, gallery = (np.load(folder / f"{name}.npy", "r") for name in ("queries", "gallery"))
    names = np.char.zfill(np.arange(len(gallery)).astype(str), 8)
    return Embeddings(np.arange(len(queries)).astype(str), queries), Embeddings(names, gallery)


def build_one(call: str, folder: pathlib.Path) -> dict[str, Any]:
    """CPU seconds and memory until the first answer."""
    queries, gallery = open_sides(folder)
    FaissIndex.tell_recall = skip_recall  # type: ignore[method-assign]
    searcher = build(call, SEARCHERS)
    one = Embeddings(queries.ids[:1], queries.vectors[:1])
    started = time.process_time()
    held = held_megabytes(lambda: searcher(one, gallery))
    return {"build CPU s": round(time.process_time() - started, 1), "build own MB": held}


def search_one(call: str, folder: pathlib.Path) -> dict[str, Any]:
    """CPU seconds and memory of a search in what lies on disk."""
    queries, gallery = open_sides(folder)
    FaissIndex.tell_recall = skip_recall  # type: ignore[method-assign]
    searcher = build(call, SEARCHERS)
    one = Embeddings(queries.ids[:1], queries.vectors[:1])
    own, started = anonymous(), time.process_time()
    told = searcher(one, gallery).provenance
    row: dict[str, Any] = {"open CPU s": round(time.process_time() - started, 2)}
    searcher(queries, gallery)
    started = time.process_time()
    ranking = searcher(queries, gallery)
    row["search CPU s"] = round(time.process_time() - started, 3)
    row |= {"own MB": round(anonymous() - own, 1), "mapped MB": mapped(str(folder / "faiss_"))}
    np.save(folder / "found.npy", ranking.indices)
    index = told.get("index", {})
    return row | {name: index[name] for name in ("lists", "probes", "candidates") if name in index}


def skip_recall(*_: Any) -> dict[str, Any]:
    """In place of `FaissIndex.tell_recall`."""
    return {}


def mapped(name: str) -> float:
    """Megabytes in memory of mapped files that have a word in their name."""
    held, mine = 0, False
    for line in pathlib.Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if "-" in fields[0] and not fields[0].endswith(":"):
            mine = name in fields[-1]
        elif mine and fields[0] == "Rss:":
            held += int(fields[1])
    return round(held * 1.024e-3, 1)


WORK = {"build": build_one, "search": search_one}


if __name__ == "__main__":
    main()
