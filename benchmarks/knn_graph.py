"""The kNN graph of a set of images: all pairs, cell by cell, and faiss-cpu's IVF asked for every image.

    python benchmarks/knn_graph.py --out benchmarks/results/knn_graph.json

Embeddings lie in a folder, the graph is written into another. "cpu" are seconds of one process;
"resident" is the most memory it had, files it had mapped among it, "held" what was its own. faiss
gets as many cells and probes; it is asked for some images, and the time of all is computed.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from measure import held_megabytes, photos, seconds, write

from fastseek.knn.graph import build_knn_graph
from fastseek.structures import Embeddings

DIM, K, GROUPS, ASKED = 128, 20, 500, 2000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--exact-up-to", type=int, default=100_000)
    parser.add_argument("--out", help="a JSON file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(pathlib.Path(args.one[0]), args.one[1], args.one[2])))
        return
    rows = []
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            vectors = photos(size, DIM, 0, GROUPS)
            Embeddings(np.arange(size).astype(str), vectors).save(pathlib.Path(folder) / "e")
            del vectors
            ways = ["cells", "faiss", *(["exact"] if size <= args.exact_up_to else [])]
            # A process each, so that the memory of one is not that of the one before.
            for way in ways:
                rows.append({"images": size, "way": way, **apart(folder, way)})
                print(rows[-1], flush=True)
                write(args.out, f"kNN graph of vectors of {DIM} numbers, k={K}", PACKAGES, rows)


PACKAGES = ("numpy", "faiss-cpu")


def apart(folder: str, way: str) -> dict[str, Any]:
    """The figures of one way, in a process of its own."""
    command = [sys.executable, __file__, "--one", folder, way, ""]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(folder: pathlib.Path, way: str, _: str) -> dict[str, Any]:
    """CPU seconds, recall and memory of one way."""
    embeddings = Embeddings.load(folder / "e")
    if way == "faiss":
        return ask_faiss(embeddings)
    began, wall = time.process_time(), time.perf_counter()
    cells = {"cells": 0} if way == "exact" else {"cells": round(2 * len(embeddings) ** 0.5)}
    target = folder / way
    held = held_megabytes(lambda: build_knn_graph(embeddings, K, target, **cells))
    graph = build_knn_graph(embeddings, K, target, **cells)
    return {
        "cpu": round(time.process_time() - began, 1),
        "wall": round(time.perf_counter() - wall, 1),
        "recall": graph.facts["recall"]["value"],
        "cells": graph.facts["cells"],
        "probes": graph.facts["probes"],
        "resident MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        "held MB": held,
        "bytes an image": (graph.neighbors.nbytes + graph.scores.nbytes) // len(graph),
    }


def ask_faiss(embeddings: Embeddings) -> dict[str, Any]:
    """faiss-cpu's IVF with as many cells and probes, asked for some images."""
    import faiss

    faiss.omp_set_num_threads(1)
    vectors = np.asarray(embeddings.vectors)
    cells, chosen = (
        round(2 * len(vectors) ** 0.5),
        np.random.default_rng(0).permutation(len(vectors)),
    )
    began = time.process_time()
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, cells, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[chosen[: 64 * cells]])
    index.add(vectors)
    built = time.process_time() - began
    index.nprobe = 12
    asked = vectors[chosen[:ASKED]]
    each = seconds(lambda: index.search(asked, K + 1), runs=1)["cpu"] / ASKED
    flat = faiss.IndexFlatIP(DIM)
    flat.add(vectors)
    some = asked[:500]
    right, found = flat.search(some, K + 1)[0], index.search(some, K + 1)[0]
    return {
        "cpu": round(built + each * len(vectors), 1),
        "recall": round(float((found[:, 1:] >= right[:, -1:] - 1e-6).mean()), 4),
        "cells": cells,
        "probes": 12,
        "computed from": ASKED,
    }


if __name__ == "__main__":
    main()
