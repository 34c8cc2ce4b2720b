"""What parts are called with and return."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from ..structures import Embeddings, GroundTruth, Item, Ranking, Score, Task


class Dataset(Protocol):
    """What DATASETS builds."""

    items: Sequence[Item]


@runtime_checkable
class ScoredDataset(Protocol):
    """A data set that says how it is scored, by a call string of PROTOCOLS."""

    items: Sequence[Item]
    protocol: str


@runtime_checkable
class TaskedDataset(Protocol):
    """A data set whose truth lies in files of its own."""

    def tasks(self) -> list[Task]:
        """What is asked and what is right."""
        ...


class EvaluationProtocol(Protocol):
    """What PROTOCOLS builds."""

    call: str

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """What is asked of these images and what is right."""
        ...


class Transform(Protocol):
    """What TRANSFORMS builds."""

    def __call__(self, image: Any) -> Image.Image | torch.Tensor:
        """Another image; the given one is not changed."""
        ...


@runtime_checkable
class FixedTransform(Protocol):
    """A transform that says whether it draws nothing."""

    fixed: bool

    def __call__(self, image: Any) -> Image.Image | torch.Tensor:
        """Another image; the given one is not changed."""
        ...


@runtime_checkable
class FileReadingTransform(Protocol):
    """A transform that does what files tell it."""

    @property
    def files(self) -> Sequence[os.PathLike[str] | str]:
        """The files."""
        ...


@runtime_checkable
class BorrowingTransform(Protocol):
    """A transform that looks at other training images than the one it is given."""

    def lend(self, read: Callable[[int], Image.Image | None], count: int) -> None:
        """Take a function that reads one of `count` images; None where it cannot be read."""
        ...


class Sampler(Protocol):
    """What SAMPLERS builds."""

    def epoch(self, n: int) -> np.ndarray:
        """Row numbers [batches, batch_size] int64 of epoch n."""
        ...


class Crop(Protocol):
    """What CROPS builds; `digest` tells what its answer depends on besides its call."""

    @property
    def digest(self) -> str:
        """SHA-256 of its file, or ""."""
        ...

    def __call__(self, items: Sequence[Item]) -> np.ndarray:
        """Boxes float32 [N, 4], shares left, top, right, bottom; NaN for the whole image."""
        ...


class Enhancer(Protocol):
    """What ENHANCERS builds."""

    call: str

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Better embeddings of the same images."""
        ...


class Adapter(Protocol):
    """What ADAPTERS builds."""

    call: str

    def __call__(self, vectors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean [D] that is taken off, and the directions [dim, D], float64."""
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


class Schedule(Protocol):
    """What SCHEDULES builds."""

    call: str

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied with in a step, counted from 0."""
        ...


@runtime_checkable
class ShowsCorners(Protocol):
    """A schedule that names the steps a table must show."""

    @property
    def corners(self) -> Sequence[int]:
        """Those steps, counted from 0."""
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
