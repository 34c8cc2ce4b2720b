"""Exact search: every query is compared with every gallery image."""

from __future__ import annotations

import numpy as np

from ..nearest import GALLERY_ROWS, METRICS, nearest
from ..registry import SEARCHERS
from ..structures import Embeddings, Ranking
from .passports import check_same_model


@SEARCHERS.register()
class Exact:
    """The k best gallery images of every query, exactly, in bounded memory.

    Scores are larger for better: "cosine" (vectors are normalised in a copy), "ip" (inner product) or "l2" (minus the
    squared Euclidean distance). Equal scores stand in the order of the gallery ids, also at the k-th place. The answer
    depends neither on `block` nor on the order of either side. A gallery smaller than k gives what there is. In "ip"
    and "l2" a zero vector is a point like any other.

    Args:
        k: how many images a query gets.
        metric: "cosine", "ip" or "l2".
        block: gallery images held in memory at once.

    Raises:
        ArtefactError: queries and gallery are not of one model.
        DataError: a vector is not finite, or zero under "cosine"; names its id.
    """

    def __init__(self, k: int = 100, metric: str = "cosine", block: int = GALLERY_ROWS) -> None:
        if k < 1 or block < 1:
            raise ValueError(f"k and block must be 1 or more, got k={k}, block={block}")
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        self.k, self.metric, self.block = k, metric, block

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """Rank the gallery for every query."""
        check_same_model(queries, gallery)
        found = nearest(queries, gallery, self.k, self.metric, self.block)
        passport = {"search": f"exact(k={self.k}, metric={self.metric!r})", "exact": True,
                    "engine": f"numpy {np.__version__}", "queries": dict(queries.passport),
                    "gallery": dict(gallery.passport)}
        return Ranking(queries.ids, gallery.ids, found.rows, found.scores, passport)
