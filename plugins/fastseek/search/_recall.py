"""How much of the exact answer an approximate search finds, measured on some of its queries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..knn.nearest import CodedGallery, nearest, nearest_coded
from ..structures import Embeddings


def measure_recall(
    rows: np.ndarray,
    queries: Embeddings,
    gallery: Embeddings,
    metric: str,
    sample: int,
    seed: int,
    coded: CodedGallery | None = None,
) -> dict[str, Any]:
    """Compare found gallery rows [Q, K] with the exact ones.

    Args:
        rows: -1 where there is none.
        queries, gallery: what was searched.
        metric: "cosine", "ip" or "l2".
        sample: how many queries are compared at most, drawn by `seed`.
        coded: the gallery, where it is coded already.

    Returns:
        {"k", "value", "queries", "seed"}: the share of the K best images of those queries that was
        found; None without queries or images.
    """
    depth = min(rows.shape[1], len(gallery))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(queries))[:sample])
    told = {"k": depth, "value": None, "queries": len(chosen), "seed": seed}
    if not depth or not len(chosen):
        return told
    asked = Embeddings(queries.ids[chosen], np.asarray(queries.vectors[chosen]), queries.provenance)
    if coded is None:
        exact = nearest(asked, gallery, depth, metric, lowest=False).rows
    else:
        exact = nearest_coded(asked, coded, depth).rows
    return told | {"value": share_found(rows[chosen], exact)}


def share_found(rows: np.ndarray, exact: np.ndarray) -> float:
    """The share of the exact gallery rows [Q, K] that stands among the found ones [Q, K], of one
    query as of the other; six digits.
    """
    pairs = zip(rows, exact, strict=True)
    hits = sum(len(np.intersect1d(mine, right)) for mine, right in pairs)
    return round(hits / exact.size, 6)
