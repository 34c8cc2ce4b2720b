"""CMC, mAP and mINP with the camera rule: ours against fast-reid's own code, at the size of
Market-1501; long lists.

    python benchmarks/ranking_evaluation.py --out benchmarks/results/ranking_evaluation.json

The matrix comes twice: of vectors that barely tell people apart, where the last true image stands
    far down and most of
a row must be looked at, and of vectors as good as a trained model's on Market-1501 (mINP near the
59.4 % that fast-reid's model zoo gives for its BoT with ResNet-50). fast-reid's Python takes about
a minute each. Its Cython comes in when --cython names the module made of its own source, in any
folder, by `cythonize -i rank_cy.pyx`. The last row is 10,000 lists of 100 out of a million images;
beside it what numpy needs to make one such list of a row of scores.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import peak_megabytes, seconds, write

import fastseek.compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.metrics import market, market_from_embeddings
from fastseek.metrics._evaluate import evaluate
from fastseek.structures import Embeddings, GroundTruth, Ranking

from fastreid.evaluation.rank import evaluate_rank

QUERIES, GALLERY, PEOPLE, CAMERAS, DIM = 3368, 15913, 751, 6, 512
NOISE = {
    "barely apart": (3.2, 1e6),
    "as a trained model": (1.6, 4),
}  # its size, and how even it is among the photos


def people(
    count: int,
    centres: np.ndarray,
    random: np.random.Generator,
    noise: tuple[float, float],
) -> tuple[np.ndarray, ...]:
    """Unit vectors [count, DIM], identities and cameras."""
    ids, cameras = random.integers(0, PEOPLE, count), random.integers(0, CAMERAS, count)
    size, even = noise
    sizes = size * random.gamma(even, 1 / even, (count, 1))
    vectors = centres[ids] + sizes * random.normal(size=(count, DIM))
    return (
        (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        ids,
        cameras,
    )


def truth_of(
    queries: tuple[np.ndarray, ...], gallery: tuple[np.ndarray, ...], count: int
) -> GroundTruth:
    """Who is who for the first `count` queries."""
    return GroundTruth.from_labels(
        [f"q{n:05d}" for n in range(count)],
        queries[1][:count].astype(str),
        [f"g{n:05d}" for n in range(len(gallery[1]))],
        gallery[1].astype(str),
        queries[2][:count].astype(str),
        gallery[2].astype(str),
    )


def built(path: str | None) -> Callable[..., Any] | None:
    """fast-reid's evaluation in Cython, from a file of its own."""
    if path is None:
        return None
    spec = importlib.util.spec_from_file_location("rank_cy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.evaluate_cy


def whole(kind: str, runs: int, cython: Callable[..., Any] | None) -> list[dict[str, Any]]:
    """Rows: from the matrix, beside fast-reid's code, and from the vectors."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(PEOPLE, DIM))
    queries, gallery = (people(count, centres, random, NOISE[kind]) for count in (QUERIES, GALLERY))
    scores = queries[0] @ gallery[0].T
    distances, truth = -scores, truth_of(queries, gallery, QUERIES)
    labels = queries[1], gallery[1], queries[2], gallery[2]
    theirs: list[Any] = []
    ours = market(scores, truth)
    row = {
        "what": f"matrix ({kind})",
        "queries": QUERIES,
        "gallery": GALLERY,
        "figures": ours,
        "ours": seconds(lambda: market(scores, truth), runs),
        "fastreid": seconds(
            lambda: theirs.append(evaluate_rank(distances, *labels, use_cython=False)), 1
        ),
        "argsort": seconds(lambda: np.argsort(scores, axis=1), 1),
    }
    if cython:
        row["cython"] = seconds(lambda: cython(distances, *labels, 50), runs)
        row["cython_by_ours"] = round(row["cython"]["cpu"] / row["ours"]["cpu"], 1)
    cmc, aps, inps = theirs[0]
    figures = 100 * float(cmc[0]), 100 * float(np.mean(aps)), 100 * float(np.mean(inps))
    pairs = zip(figures, (ours["Rank-1"], ours["mAP"], ours["mINP"]), strict=True)
    row["largest_difference_percent"] = max(abs(a - b) for a, b in pairs)
    row["fastreid_by_ours"] = round(row["fastreid"]["cpu"] / row["ours"]["cpu"], 1)
    row["peak_megabytes"] = peak_megabytes(lambda: market(scores, truth))
    sides = Embeddings(truth.query_ids, queries[0]), Embeddings(truth.gallery_ids, gallery[0])
    vectors = {
        "what": f"vectors ({kind})",
        "queries": QUERIES,
        "gallery": GALLERY,
        "ours": seconds(lambda: market_from_embeddings(*sides, truth), runs),
        "matrix_product": seconds(lambda: queries[0] @ gallery[0].T, runs),
        "peak_megabytes": peak_megabytes(lambda: market_from_embeddings(*sides, truth)),
    }
    return [row, vectors]


def lists(queries: int, gallery: int, depth: int, runs: int) -> dict[str, Any]:
    """One row: all figures of a ranking of short lists, with 20 relevant images a query, some of
    them listed.
    """
    random = np.random.default_rng(0)
    relevant = np.sort(
        random.integers(0, gallery // 20, (queries, 20)) + np.arange(20) * (gallery // 20), axis=1
    )
    indices = random.integers(0, gallery // depth, (queries, depth)) + np.arange(depth) * (
        gallery // depth
    )
    indices = random.permuted(indices, axis=1)
    for place in range(
        0, 20, 2
    ):  # every second relevant image is in the list, unless it is there already
        new = ~(indices == relevant[:, place, None]).any(axis=1)
        indices[new, random.integers(place * 5, place * 5 + 10)] = relevant[new, place]
    scores = np.broadcast_to(np.arange(depth, 0, -1, dtype=np.float32), indices.shape)
    ids = (
        np.char.add(side, np.arange(count).astype(str))
        for side, count in (("q", queries), ("g", gallery))
    )
    ranking = Ranking(*ids, indices, scores)
    starts = np.arange(queries + 1) * 20
    truth = GroundTruth(
        ranking.query_ids,
        ranking.gallery_ids,
        starts,
        relevant.reshape(-1),
        starts * 0,
        starts[:0],
        [""] * queries,
        [""] * gallery,
    )
    calls = ["map(100)", "cmc(1, 5, 10)", "recall(1, 10)", "precision(10)"]
    row = random.random(gallery).astype(np.float32)
    return {
        "what": f"lists of {depth}",
        "queries": queries,
        "gallery": gallery,
        "figures": calls,
        "ours": seconds(lambda: evaluate(ranking, truth, calls), runs),
        "peak_megabytes": peak_megabytes(lambda: evaluate(ranking, truth, calls)),
        "argsort_of_a_row": seconds(lambda: np.argsort(row), runs),
        "argpartition_of_a_row": seconds(lambda: np.argpartition(row, depth), runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=5, help="runs of ours, of which the median counts"
    )
    parser.add_argument("--cython", metavar="FILE", help="fast-reid's rank_cy, built")
    parser.add_argument("--out", help="JSON file")
    args = parser.parse_args()
    cython = built(args.cython)
    rows = [row for kind in NOISE for row in whole(kind, args.runs, cython)]
    rows.append(lists(10_000, 1_000_000, 100, args.runs))
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    write(args.out, "Rank-k, mAP and mINP with the camera rule", ("numpy", "fastreid"), rows)


if __name__ == "__main__":
    main()
