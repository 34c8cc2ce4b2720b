"""Query expansion of the queries only."""

from __future__ import annotations

from ..knn.nearest import nearest
from ..registry import ENHANCERS
from ..structures import Embeddings
from ._expansion import expand_queries, weigh_cosines


@ENHANCERS.register()
class AlphaQe:
    """Every query plus its k nearest gallery vectors, each weighted by cosine ** alpha; the gallery
    stays as it is.

    Alpha query expansion (Radenovic, Tolias and Chum, PAMI 2019): vectors are of length 1 before
    and after, the query itself weighs 1, a negative cosine nothing. `alpha=0` is plain query
    expansion. What a query becomes does not depend on the other queries. Memory: the new queries
    and one block of the gallery.

    Args:
        k: how many gallery vectors are added; all of a smaller gallery.
        alpha: power of the cosine.

    Raises:
        DataError: a vector is zero or not finite; names its id.

    Source: Radenovic, Tolias and Chum, Fine-tuning CNN Image Retrieval with No Human Annotation,
        PAMI 2019 (arXiv 1711.02512)
    Example: alpha_qe(k=10, alpha=3.0)
    """

    def __init__(self, k: int = 10, alpha: float = 3.0) -> None:
        if k < 1 or alpha < 0:
            raise ValueError(f"k must be 1 or more and alpha 0 or more, got {k} and {alpha}")
        self.k, self.alpha = k, alpha

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Expanded queries, float32 of length 1, and the gallery with its old vectors."""
        found = nearest(queries, gallery, self.k, lowest=False)
        vectors = expand_queries(
            queries, gallery, found.rows, weigh_cosines(found.scores, self.alpha)
        )
        return Embeddings(queries.ids, vectors), gallery
