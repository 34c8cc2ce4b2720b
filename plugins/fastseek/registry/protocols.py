"""What the parts of the retrieval half are called with and return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from ..structures import Embeddings, GroundTruth, Ranking, Score


class Enhancer(Protocol):
    """What ENHANCERS builds."""

    call: str

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Better embeddings of the same images."""
        ...


class Searcher(Protocol):
    """What SEARCHERS builds; `searcher` is the search it holds, where it holds one."""

    call: str
    k: int
    searcher: Searcher | None

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The gallery's best images for every query."""
        ...


class Reranker(Protocol):
    """What RERANKERS builds; `inserts` says whether it may list other images than it was given."""

    call: str
    inserts: bool

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images in a better order."""
        ...


class Fuser(Protocol):
    """What FUSERS builds."""

    call: str

    def __call__(self, members: Sequence[Ranking], names: Sequence[str] | None = None) -> Ranking:
        """One ranking of several; errors call them by `names`."""
        ...


class Metric(Protocol):
    """What METRICS builds."""

    call: str

    def __call__(self, ranking: Ranking, truth: GroundTruth) -> list[Score]:
        """The scores of a ranking."""
        ...


class ClassMetric(Protocol):
    """What CLASS_METRICS builds."""

    call: str

    def __call__(
        self, probabilities: np.ndarray, truth: np.ndarray, counts: np.ndarray
    ) -> list[Score]:
        """The scores of class probabilities."""
        ...
