"""How much of the exact answer an approximate search finds, measured on some of its queries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..knn.blocked import Block
from ..knn.nearest import nearest
from ..structures import Embeddings


def measured_recall(
    rows: np.ndarray,
    queries: Embeddings,
    gallery: Embeddings,
    metric: str,
    sample: int,
    seed: int,
    scan: str = "auto",
    kept: Block | None = None,
) -> dict[str, Any]:
    """Compare found gallery rows [Q, K] with the exact ones.

    Args:
        rows: -1 where there is none.
        queries, gallery: what was searched.
        metric: "cosine", "ip" or "l2".
        sample: how many queries are compared at most, drawn by `seed`.
        scan, kept: as for `nearest`, where the gallery is coded already.

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
    exact = nearest(asked, gallery, depth, metric, scan=scan, lowest=False, kept=kept).rows
    hits = sum(
        len(np.intersect1d(mine, right)) for mine, right in zip(rows[chosen], exact, strict=True)
    )
    return told | {"value": round(hits / exact.size, 6)}
