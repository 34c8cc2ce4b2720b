"""Database augmentation."""

from __future__ import annotations

import numpy as np

from ..knn.nearest import nearest
from ..registry import ENHANCERS
from ..structures import Embeddings
from ._expansion import expand_queries, weigh_cosines


@ENHANCERS.register()
class Dba:
    """Every gallery vector plus its k nearest others, each weighted by cosine ** alpha; the queries
    stay as they are.

    Database-side feature augmentation (Turcot and Lowe 2009; Gordo et al., IJCV 2017): vectors are
    of length 1 before and after, the vector itself weighs 1, a negative cosine nothing. `alpha=0`
    weighs all alike. What the gallery becomes does not depend on the queries. Time grows with the
    square of the gallery. Memory: the new vectors, k + 1 neighbors of 12 bytes a vector, and one
    block.

    Args:
        k: how many others are added; all of a smaller gallery.
        alpha: power of the cosine.

    Raises:
        DataError: a vector is zero or not finite; names its id.

    Source: Turcot and Lowe, Better Matching with Fewer Features, ICCVW 2009; Gordo et al.,
        End-to-End Learning of Deep Visual Representations for Image Retrieval, IJCV 2017 (arXiv
        1610.07940)
    Example: dba(k=10)
    """

    def __init__(self, k: int = 10, alpha: float = 3.0) -> None:
        if k < 1 or alpha < 0:
            raise ValueError(f"k must be 1 or more and alpha 0 or more, got {k} and {alpha}")
        self.k, self.alpha = k, alpha

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """The queries with their old vectors, and the gallery augmented, float32 of length 1."""
        found = nearest(gallery, gallery, self.k + 1, lowest=False)
        other = found.rows != np.arange(len(gallery))[:, None]
        other &= (
            np.cumsum(other, axis=1) <= self.k
        )  # many equal vectors may have pushed the vector itself off its list
        vectors = expand_queries(
            gallery, gallery, found.rows, weigh_cosines(found.scores, self.alpha) * other
        )
        return queries, Embeddings(gallery.ids, vectors)
