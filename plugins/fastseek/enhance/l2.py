"""Vectors of length 1."""

from __future__ import annotations

from ..knn.vectors import blocks
from ..registry import ENHANCERS
from ..structures import Embeddings
from ._sides import ROWS, allocate


@ENHANCERS.register()
class L2:
    """Every vector divided by its Euclidean length. Memory: one block beside the new vectors.

    Raises:
        DataError: a vector is zero or not finite; names its id.

    Example: l2()
    """

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both sides, float32."""
        return self._normalize(queries), self._normalize(gallery)

    def _normalize(self, side: Embeddings) -> Embeddings:
        vectors = allocate(len(side), side.dim)
        for here, block in blocks(side, "cosine", ROWS):
            vectors[here] = block
        return Embeddings(side.ids, vectors)
