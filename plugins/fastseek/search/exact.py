"""Exact search: every query is compared with every gallery image."""

from __future__ import annotations

import numpy as np

from ..knn.nearest import GALLERY_ROWS, METRICS, nearest
from ..knn.scan import SCANS
from ..registry import SEARCHERS
from ..structures import Embeddings, Ranking


@SEARCHERS.register()
class Exact:
    """The k best gallery images of every query, exactly, in bounded memory.

    Scores are larger for better: "cosine" (vectors are normalized in a copy), "ip" (inner product)
    or "l2" (minus the squared Euclidean distance). Equal scores stand in the order of the gallery
    ids, also at the k-th place. The answer depends neither on `block`, `scan` and the number of
    threads nor on the order of either side. A gallery smaller than k gives what there is. In "ip"
    and "l2" a zero vector is a point like any other.

    Memory: a block is held once in the precision of the scan (4 bytes a number in float32) and,
    when it comes from shards on disk, once as it is there; beside that 24 MB a thread, 50 MB of
    proposed pairs a thread at most, and 8 bytes for every place of the answer. The gallery as a
    whole is never held.

    Args:
        k: how many images a query gets.
        metric: "cosine", "ip" or "l2".
        block: gallery images held in memory at once.
        scan: precision in which all pairs are compared before the best are scored exactly:
            "float32", "bfloat16", "int8", or "auto" for the fastest here.

    Raises:
        ArtefactError: queries and gallery are not of one model.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Example: exact(k=100)
    """

    not_in_call = ("block", "scan")  # the answer does not depend on them

    def __init__(
        self, k: int = 100, metric: str = "cosine", block: int = GALLERY_ROWS, scan: str = "auto"
    ) -> None:
        if k < 1 or block < 1:
            raise ValueError(f"k and block must be 1 or more, got k={k}, block={block}")
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        if scan not in ("auto", *SCANS):
            raise ValueError(f"scan must be auto, {', '.join(SCANS)}, got {scan!r}")
        self.k, self.metric, self.block, self.scan = k, metric, block, scan

    def code_bytes(self, dim: int) -> int:
        """Bytes of an image in the scan, 4 a number."""
        return 4 * dim

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """Rank the gallery for every query."""
        found = nearest(queries, gallery, self.k, self.metric, self.block, self.scan, lowest=False)
        facts = {
            "exact": True,
            "engine": f"numpy {np.__version__}",
            "scan": found.scan,
        }
        return Ranking(queries.ids, gallery.known_ids, found.rows, found.scores, facts)
