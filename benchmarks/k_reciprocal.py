"""k-reciprocal re-ranking: ours against fast-reid's own CPU code, side by side, with the exact search alone.

    python benchmarks/k_reciprocal.py --sizes 1000 3000 --out benchmarks/results/k_reciprocal.json

Where two neighbours' distances differ by less than float32 can hold, fast-reid's order of them is chance and ours that
of float64; among many images such a pair at the edge of a neighbourhood now and then moves the distances of a few.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from measure import peak_megabytes, seconds, write

import fastseek.compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.kernel.nearest import nearest
from fastseek.rerank.k_reciprocal import KReciprocal
from fastseek.structures import Embeddings

from fastreid.evaluation.rerank import re_ranking

DIM, QUERIES = 512, 0.17


def photos(count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors [count, DIM] around one direction for every 20 of them."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(2, count // 20), DIM))
    vectors = centres[random.integers(0, len(centres), count)] + 1.2 * random.normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def compare(count: int, k1: int, k2: int, runs: int) -> dict[str, Any]:
    """One row: seconds, peak memory and the largest difference of the final distances."""
    vectors, cut = photos(count), int(count * QUERIES)
    queries = Embeddings([f"q{n}" for n in range(cut)], vectors[:cut])
    gallery = Embeddings([f"g{n}" for n in range(count - cut)], vectors[cut:])
    both = Embeddings([str(n) for n in range(count)], vectors)
    part = KReciprocal(k1, k2)

    def theirs() -> np.ndarray:
        distances = np.sqrt(np.maximum(2 - 2 * vectors @ vectors.T, 0))
        return re_ranking(distances[:cut, cut:], distances[:cut, :cut], distances[cut:, cut:], k1, k2, 0.3)

    def ours() -> np.ndarray:
        return -part.matrix(queries, gallery)

    row: dict[str, Any] = {"images": count, "queries": cut, "k1": k1, "k2": k2}
    found: list[np.ndarray] = []
    row["fastreid"] = seconds(lambda: found.append(theirs()), 1)
    row["ours"] = seconds(ours, runs)
    row["exact_search"] = seconds(lambda: nearest(both, both, k1 + 1), runs)
    row["matrix_product"] = seconds(lambda: vectors @ vectors.T, runs)
    apart = np.abs(ours() - found[0])
    row["largest_difference"] = float(apart.max())
    row["share_within_1e-5"] = float((apart <= 1e-5).mean())
    row["fastreid_by_ours"] = round(row["fastreid"]["cpu"] / row["ours"]["cpu"], 1)
    row["ours_by_exact_search"] = round(row["ours"]["cpu"] / row["exact_search"]["cpu"], 2)
    row["peak_megabytes"] = {"ours": peak_megabytes(ours), "fastreid": peak_megabytes(theirs)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000], help="queries and gallery together")
    parser.add_argument("--k1", type=int, default=20)
    parser.add_argument("--k2", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3, help="runs of ours, of which the median counts")
    parser.add_argument("--out", help="JSON file")
    args = parser.parse_args()
    rows = []
    for count in args.sizes:
        rows.append(row := compare(count, args.k1, args.k2, args.runs))
        ours, alone, theirs = (row[name]["cpu"] for name in ("ours", "exact_search", "fastreid"))
        print(f"{count} images: ours {ours:.2f} s CPU, exact search alone {alone:.2f}, fast-reid {theirs:.2f} "
              f"({row['fastreid_by_ours']} times ours); peak {row['peak_megabytes']['ours']} and "
              f"{row['peak_megabytes']['fastreid']} MB; within 1e-5: {row['share_within_1e-5']:.6f}", flush=True)
    write(args.out, "k-reciprocal re-ranking of all gallery images, from 512-d vectors to final distances",
          ("numpy", "scipy", "fastreid"), rows)


if __name__ == "__main__":
    main()
