"""CMC, mAP and mINP with the camera rule: ours against fast-reid's own Python code, at the size of Market-1501.

    python benchmarks/ranking_evaluation.py --out benchmarks/results/ranking_evaluation.json

fast-reid's takes about 30 ms a query, so it gets the first --queries of them, and ours the same and then all.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from measure import peak_megabytes, seconds, write

import fastseek.compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.metrics import market, market_from_embeddings
from fastseek.structures import Embeddings, Truth

from fastreid.evaluation.rank import evaluate_rank

QUERIES, GALLERY, PEOPLE, CAMERAS, DIM = 3368, 15913, 751, 6, 512


def people(count: int, centres: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Unit vectors [count, DIM], identities and cameras."""
    ids, cameras = random.integers(0, PEOPLE, count), random.integers(0, CAMERAS, count)
    vectors = centres[ids] + 3.2 * random.normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), ids, cameras


def truth_of(queries: tuple[np.ndarray, ...], gallery: tuple[np.ndarray, ...], count: int) -> Truth:
    """Who is who for the first `count` queries."""
    return Truth.from_labels([f"q{n:05d}" for n in range(count)], queries[1][:count].astype(str),
                             [f"g{n:05d}" for n in range(len(gallery[1]))], gallery[1].astype(str),
                             queries[2][:count].astype(str), gallery[2].astype(str))


def compare(count: int, runs: int) -> list[dict[str, Any]]:
    """Rows: both on the first `count` queries, then ours alone on all, from the matrix and from the vectors."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(PEOPLE, DIM))
    queries, gallery = people(QUERIES, centres, random), people(GALLERY, centres, random)
    scores = queries[0] @ gallery[0].T
    some, every = truth_of(queries, gallery, count), truth_of(queries, gallery, QUERIES)

    def theirs() -> tuple[float, float, float]:
        cmc, aps, inps = evaluate_rank(-scores[:count], queries[1][:count], gallery[1], queries[2][:count], gallery[2],
                                       use_cython=False)
        return 100 * float(cmc[0]), 100 * float(np.mean(aps)), 100 * float(np.mean(inps))

    ours = market(scores[:count], some)
    gap = max(abs(a - b) for a, b in zip(theirs(), (ours["Rank-1"], ours["mAP"], ours["mINP"]), strict=True))
    both = {"queries": count, "gallery": GALLERY, "figures": ours, "largest_difference_percent": gap,
            "ours": seconds(lambda: market(scores[:count], some), runs), "fastreid": seconds(theirs, 1),
            "argsort": seconds(lambda: np.argsort(scores[:count], axis=1), 1)}
    both["fastreid_by_ours"] = round(both["fastreid"]["cpu"] / both["ours"]["cpu"], 1)
    sides = Embeddings(every.query_ids, queries[0]), Embeddings(every.gallery_ids, gallery[0])
    matrix = {"queries": QUERIES, "gallery": GALLERY, "from": "matrix",
              "ours": seconds(lambda: market(scores, every), runs),
              "argsort": seconds(lambda: np.argsort(scores, axis=1), 1),
              "peak_megabytes": peak_megabytes(lambda: market(scores, every))}
    vectors = {"queries": QUERIES, "gallery": GALLERY, "from": "vectors",
               "ours": seconds(lambda: market_from_embeddings(*sides, every), runs),
               "matrix_product": seconds(lambda: queries[0] @ gallery[0].T, runs),
               "peak_megabytes": peak_megabytes(lambda: market_from_embeddings(*sides, every))}
    return [both, matrix, vectors]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300, help="queries that fast-reid's code is given too")
    parser.add_argument("--runs", type=int, default=3, help="runs of ours, of which the median counts")
    parser.add_argument("--out", help="JSON file")
    args = parser.parse_args()
    rows = compare(args.queries, args.runs)
    both, matrix, vectors = rows
    print(f"{args.queries} x {GALLERY}: ours {both['ours']['cpu']:.3f} s CPU, fast-reid {both['fastreid']['cpu']:.2f} "
          f"({both['fastreid_by_ours']} times ours), argsort alone {both['argsort']['cpu']:.2f}; largest difference "
          f"{both['largest_difference_percent']:.1e} %")
    print(f"{QUERIES} x {GALLERY}: ours {matrix['ours']['cpu']:.2f} s CPU from the matrix, argsort alone "
          f"{matrix['argsort']['cpu']:.2f}; ours {vectors['ours']['cpu']:.2f} from {DIM}-d vectors, their matrix "
          f"product alone {vectors['matrix_product']['cpu']:.2f}")
    write(args.out, "Rank-k, mAP and mINP with the camera rule", ("numpy", "fastreid"), rows)


if __name__ == "__main__":
    main()
