"""Re-rankers on Grocery: mAP@100 before and after, and CPU milliseconds a query.

    fastseek embed --model default --images "grocery()" --out outputs/grocery
    OMP_NUM_THREADS=1 python benchmarks/rerankers.py --embeddings outputs/grocery \
        --out benchmarks/results/rerankers.json

Test images search the training images, 100 answers each; a re-ranker puts them in another order.
Every part stands with its defaults; none was tuned on these images.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import measure
import numpy as np

import fastseek as fs
from fastseek.data.datasets.grocery import Grocery
from fastseek.metrics.map import Map
from fastseek.metrics.recall import Recall
from fastseek.structures import Embeddings, GroundTruth, Ranking

CALLS = (
    "k_reciprocal()",
    "super_global()",
    "diffusion(over='list')",
    "graph_convolution()",
    "graph_convolution(over='list')",
    "sinkhorn()",
    "mds()",
)


def read_side(folder: str, split: str, count: int | None) -> tuple[Embeddings, list[str]]:
    """Vectors and labels of one split, or of `count` images of it drawn at random."""
    found = Embeddings.load(folder)
    labels = {item.id: item.label for item in Grocery().items if item.split == split}
    rows = [row for row, name in enumerate(found.ids.tolist()) if name in labels]
    if count is not None:
        rows = sorted(np.random.default_rng(0).permutation(rows)[:count].tolist())
    side = Embeddings(found.ids[rows], np.asarray(found.vectors[rows]), found.provenance)
    return side, [labels[name] for name in side.ids.tolist()]


def row_of(name: str, ranking: Ranking, truth: GroundTruth, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    return {
        "re-ranker": name,
        "map@100": round(100 * Map(100)(ranking, truth)[0].value, 1),
        "recall@1": round(100 * Recall(1)(ranking, truth)[0].value, 1),
        "ms a query": round(1000 * seconds / len(ranking.query_ids), 2),
    }


def main() -> None:
    """Search once, re-rank by each, save the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", required=True, help="of grocery(), by fastseek embed")
    parser.add_argument("--calls", nargs="+", default=CALLS)
    parser.add_argument("--queries", type=int, help="so many, drawn at random; else all")
    parser.add_argument("--out")
    args = parser.parse_args()
    (queries, asked), (gallery, held) = (
        read_side(args.embeddings, split, count)
        for split, count in (("query", args.queries), ("gallery", None))
    )
    truth = GroundTruth.from_labels(queries.ids, asked, gallery.ids, held)
    started = time.process_time()
    ranking = fs.search(queries, gallery, k=100)
    rows = [row_of("none", ranking, truth, time.process_time() - started)]
    for call in args.calls:
        started = time.process_time()
        after = fs.rerank(ranking, queries, gallery, call)
        rows.append(row_of(call, after, truth, time.process_time() - started))
        print(*rows[-1].values(), sep="\t", flush=True)
    what = f"{len(queries)} test images of Grocery asked of {len(gallery)} training images"
    measure.write(args.out, what, ("numpy", "scipy"), rows)


if __name__ == "__main__":
    main()
