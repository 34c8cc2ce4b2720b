"""k-reciprocal re-ranking: ours against fast-reid's own CPU code, side by side, with the exact search alone.

    python benchmarks/k_reciprocal.py --rows 1000/20/6 10000/50/15 --out benchmarks/results/k_reciprocal.json
    python benchmarks/k_reciprocal.py --rows 1000000/20/6 --max-ram 18 --out benchmarks/results/k_reciprocal_large.json

A row is images/k1/k2, queries and gallery together.
Up to --whole images the work is the whole matrix of distances, as fast-reid's code gives it; beyond, it is the answers
of an exact search with --lists images a query, and fast-reid's code is not run: it would need several matrices of all
images by all images. A row is written as soon as it is there. Where two neighbours' distances differ by less than
float32 can hold, fast-reid's order of them is chance and ours that of float64; among many images such a pair at the
edge of a neighbourhood now and then moves the distances of a few.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from typing import Any

import numpy as np
from measure import held_megabytes, peak_megabytes, photos, seconds, write

import fastseek.compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.knn.nearest import nearest
from fastseek.rerank.k_reciprocal import KReciprocal
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

from fastreid.evaluation.rerank import re_ranking

DIM, QUERIES, SEARCH_ALONE = 512, 0.17, 200_000


def sides(count: int) -> tuple[Embeddings, Embeddings, Embeddings]:
    """Queries, gallery, and both as one; 20 images to a direction."""
    vectors, cut = photos(count, DIM, 0, max(2, count // 20)), int(count * QUERIES)
    names = np.arange(count).astype(str)
    return (
        Embeddings(np.char.add("q", names[:cut]), vectors[:cut]),
        Embeddings(np.char.add("g", names[cut:]), vectors[cut:]),
        Embeddings(names, vectors),
    )


def compare(count: int, k1: int, k2: int, runs: int) -> dict[str, Any]:
    """One row, both: seconds, peak memory and the largest difference of the final distances."""
    queries, gallery, both = sides(count)
    cut, vectors, part = len(queries), both.vectors, KReciprocal(k1, k2)

    def theirs() -> np.ndarray:
        distances = np.sqrt(np.maximum(2 - 2 * vectors @ vectors.T, 0))
        return re_ranking(
            distances[:cut, cut:], distances[:cut, :cut], distances[cut:, cut:], k1, k2, 0.3
        )

    def ours() -> np.ndarray:
        return -part.matrix(queries, gallery)

    row: dict[str, Any] = {"images": count, "queries": cut, "k1": k1, "k2": k2, "answers": "all"}
    found: list[np.ndarray] = []
    ours()  # what is loaded on first use is no part of the work

    def once() -> None:
        row["fastreid"] = seconds(lambda: found.append(theirs()), 1)

    row["peak_megabytes"] = {"ours": peak_megabytes(ours), "fastreid": held_megabytes(once)}
    row["ours"] = seconds(ours, runs)
    row["exact_search"] = seconds(lambda: nearest(both, both, k1 + 1), runs)
    row["matrix_product"] = seconds(lambda: vectors @ vectors.T, runs)
    apart = np.abs(ours() - found[0])
    row["largest_difference"] = float(apart.max())
    row["share_within_1e-5"] = float((apart <= 1e-5).mean())
    row["fastreid_by_ours"] = round(row["fastreid"]["cpu"] / row["ours"]["cpu"], 1)
    row["ours_by_exact_search"] = round(row["ours"]["cpu"] / row["exact_search"]["cpu"], 2)
    return row


def alone(count: int, k1: int, k2: int, lists: int, max_ram: float | None) -> dict[str, Any]:
    """One row, ours only, for the answers of an exact search."""
    queries, gallery, both = sides(count)
    row: dict[str, Any] = {
        "images": count,
        "queries": len(queries),
        "k1": k1,
        "k2": k2,
        "answers": lists,
        "max_ram": max_ram,
        "fastreid": None,
        "why_no_fastreid": "matrices of all by all images",
    }
    found: list[Any] = []
    row["search_of_queries"] = seconds(lambda: found.append(Exact(lists)(queries, gallery)), 1)
    print(f"{count} images: lists of {lists} after {row['search_of_queries']}", flush=True)

    def work() -> None:
        row["ours"] = seconds(
            lambda: KReciprocal(k1, k2, max_ram=max_ram)(found[0], queries, gallery), 1
        )

    with contextlib.redirect_stderr(io.StringIO()) as said:
        row["peak_megabytes"] = {"ours": held_megabytes(work)}
    told = re.search(r"about (\d+) s", said.getvalue())
    row["told_seconds"] = int(told[1]) if told else None
    if count <= SEARCH_ALONE:
        row["exact_search"] = seconds(lambda: nearest(both, both, k1 + 1), 1)
        row["ours_by_exact_search"] = round(row["ours"]["cpu"] / row["exact_search"]["cpu"], 2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        metavar="IMAGES/K1/K2",
        default=["1000/20/6", "3000/20/6", "3000/50/15"],
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of ours, of which the median counts"
    )
    parser.add_argument(
        "--whole", type=int, default=20_000, help="most images that fast-reid's code is given"
    )
    parser.add_argument("--lists", type=int, default=100, help="answers a query beyond that")
    parser.add_argument("--max-ram", type=float, help="gigabytes that ours may take beyond that")
    parser.add_argument("--out", help="JSON file")
    args = parser.parse_args()
    rows = []
    for asked in args.rows:
        count, k1, k2 = map(int, asked.split("/"))
        rows.append(
            row := compare(count, k1, k2, args.runs)
            if count <= args.whole
            else alone(count, k1, k2, args.lists, args.max_ram)
        )
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        write(
            args.out,
            "k-reciprocal re-ranking of all gallery images, from 512-d vectors to final distances",
            ("numpy", "scipy", "fastreid"),
            rows,
        )


if __name__ == "__main__":
    main()
