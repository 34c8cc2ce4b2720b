"""Embeddings of several models side by side, as a step of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

from ..registry import ENHANCERS
from ..structures import Embeddings
from ._concatenated import concatenate


@ENHANCERS.register()
class Concat:
    """The given embeddings and those of other models become one; see `concatenated` for the
    arithmetic.

    `concat(queries=('b/query', 'c/query'), gallery=('b/gallery', 'c/gallery'), types=('dolg',
    'dolg', 'hybrid'))` puts the mean of the given embeddings and b beside c. Images are matched by
    id. Without other models vectors are only normalized. Memory: one block of every model beside
    the new vectors.

    Args:
        queries, gallery: embeddings of the other models, in one order.
        types: one name a model, the given one first: models of one name are averaged; all apart
            when empty.
        weights: one a model, the given one first; all alike when empty.

    Raises:
        UsageError: as many queries as galleries, types and weights are wanted.
        ArtefactError: a model has other images, or its files were changed.
        DataError: a vector is zero or not finite; names its id.

    Source: Henkel, Efficient Large-Scale Image Retrieval with Deep Feature Orthogonality and
        Hybrid-Swin-Transformers, 2021 (arXiv 2110.03786)
    Example: concat(queries=('b/query',), gallery=('b/gallery',))
    """

    # With other models the new vectors' provenance tells types, weights and every member's own.
    not_in_call = ("queries", "gallery", "types", "weights")

    def __init__(
        self,
        queries: Sequence[str] = (),
        gallery: Sequence[str] = (),
        types: Sequence[str] = (),
        weights: Sequence[float] = (),
    ) -> None:
        self.queries, self.gallery, self.types, self.weights = map(
            _as_tuple, (queries, gallery, types, weights)
        )
        if len(self.queries) != len(self.gallery):
            raise ValueError(
                f"{len(self.queries)} queries and {len(self.gallery)} galleries: name both of every"
                " model"
            )
        for what, given in (("types", self.types), ("weights", self.weights)):
            if given and len(given) != 1 + len(self.queries):
                raise ValueError(
                    f"{len(given)} {what} for {1 + len(self.queries)} models, the given one first"
                )

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both sides, float32 of length 1."""
        return (
            self._join(queries, self.queries, "queries"),
            self._join(gallery, self.gallery, "gallery"),
        )

    def _join(self, side: Embeddings, others: tuple[str, ...], name: str) -> Embeddings:
        members = [side, *(Embeddings.load(path, verify=True) for path in others)]
        return concatenate(members, self.types, self.weights, [f"the given {name}", *others])


def _as_tuple(given: Sequence) -> tuple:
    """A single name is one, not its letters."""
    return (given,) if isinstance(given, (str, int, float)) else tuple(given)
