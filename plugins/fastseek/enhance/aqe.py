"""Query expansion weighted by similarity, over queries and gallery alike."""

from __future__ import annotations

import numpy as np

from ..knn.nearest import nearest
from ..knn.vectors import stack_sides
from ..registry import ENHANCERS
from ..structures import Embeddings

ROWS = 1024  # vectors whose neighbors are gathered at once


@ENHANCERS.register()
class Aqe:
    """Every vector becomes the mean of its k nearest vectors, itself among them, weighted by cosine
    ** alpha.

    fast-reid's TEST.AQE: alpha query expansion (Radenovic et al. 2018) of queries and database over
    both together. Vectors are averaged as they are, not normalized. A negative cosine weighs nothing,
    where fast-reid's power of it is negative or no number. Neighbors come from an exact search in
    bounded memory.

    Args:
        k: how many vectors are averaged.
        times: how often the whole is repeated.
        alpha: power of the cosine; 0 weighs all alike.

    Raises:
        DataError: a vector is not finite or zero; names its id.

    Source: TEST.AQE of fast-reid; Radenovic, Tolias and Chum, Fine-tuning CNN Image Retrieval with
        No Human Annotation, PAMI 2019 (arXiv 1711.02512)
    Example: aqe(k=5)
    """

    def __init__(self, k: int = 5, times: int = 1, alpha: float = 3.0) -> None:
        if k < 1 or times < 0 or alpha < 0:
            raise ValueError(
                f"k must be 1 or more, times and alpha 0 or more, got {k}, {times} and {alpha}"
            )
        self.k, self.times, self.alpha = k, times, alpha

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Expanded queries and gallery, float32."""
        both = stack_sides(queries, gallery, "ip")
        for _ in range(self.times):
            both = self._expand(both)
        count = len(queries)
        return (
            Embeddings(queries.ids, both.vectors[:count]),
            Embeddings(gallery.ids, both.vectors[count:]),
        )

    def _expand(self, both: Embeddings) -> Embeddings:
        found = nearest(both, both, self.k)
        weights = np.maximum(found.scores, 0) ** np.float32(self.alpha)
        expanded = np.empty_like(both.vectors)
        for start in range(0, len(both), ROWS):
            here = slice(start, start + ROWS)
            near = both.vectors[found.rows[here]]
            expanded[here] = np.einsum("nkd,nk->nd", near, weights[here]) / np.float32(
                found.rows.shape[1]
            )
        return Embeddings(both.ids, expanded)
