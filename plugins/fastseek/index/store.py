"""What every index can do, wherever it keeps its images."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance
from ..structures.arrays import BoolArray, StringArray
from .columns import Metadata


class Store(Protocol):
    """Images by id: their vectors, and columns of metadata.

    The images all come from one model. A change is there when its call returns. Used in a `with`
    block it is closed at the end.
    """

    name: str  # as an error tells it

    @property
    def dim(self) -> int:
        """D, the length of a vector; 0 before the first one."""

    @property
    def columns(self) -> dict[str, str]:
        """The columns of metadata, each "number" or "text"."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the vectors."""

    @property
    def rejects(self) -> pathlib.Path:
        """The file in which images that cannot be read are named."""

    def batch(self) -> contextlib.AbstractContextManager[None]:
        """A block of many changes: what need not be done after each is done at its end."""

    def check_fits(self, embeddings: Embeddings, what: str = "images") -> None:
        """Check that embeddings are of the model and dimension of the index.

        Raises:
            ArtefactError: they are not; says in which they differ.
        """

    def known(self, ids: Sequence[str] | StringArray) -> BoolArray:
        """Which of some images [N] are there."""

    def select(self, filter: str) -> StringArray:
        """The ids of the images that fulfill a condition, sorted.

        Raises:
            UsageError: the filter cannot be read.
        """

    def vectors(self, ids: Sequence[str] | StringArray) -> Embeddings:
        """The stored vectors of some images.

        Raises:
            DataError: an image is not there.
        """

    def add(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images that are not there yet; returns how many.

        Args:
            ids: [N] strings, no one twice.
            vectors: [N, D] floats.
            metadata: columns of N texts or numbers; None, "" and NaN are missing.
            provenance: what made the vectors.

        Raises:
            DataError: an id is there already, or a vector or value cannot be stored.
            ArtefactError: the vectors are of another model or dimension.
            RunError: another process is writing, or the disk is full; nothing was changed.
        """

    def upsert(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """As `add`, but an image that is there is replaced; returns how many were.

        Of its metadata the columns that are given are replaced, the others stay.
        """

    def update(self, ids: Sequence[str] | StringArray, metadata: Metadata) -> int:
        """Give images that are there other metadata; returns how many.

        Their vectors stay, and so does a column that is not given.

        Raises:
            DataError: an image is not there, or a value cannot be stored.
        """

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there."""

    def search(self, queries: Embeddings | np.ndarray, k: int = 10, filter: str = "") -> Ranking:
        """The k best images of every query.

        The ranking's gallery are the images that it lists. Ties stand in the order of the ids.

        Args:
            queries: [Q, D]; an array's row numbers become its ids.
            k: how many images a query gets.
            filter: a condition on the metadata, see `filters.parse_filter`; "" for none.

        Raises:
            ArtefactError: the queries are of another model or dimension.
            DataError: a query is not finite, or zero under "cosine"; names its id.
            UsageError: k is below 1, or the filter cannot be read.
        """

    def metadata(
        self, ids: Sequence[str] | StringArray, columns: Sequence[str] | None = None
    ) -> dict[str, list[Any]]:
        """The metadata of some images by column, None where a value is missing.

        Raises:
            DataError: an image is not there. UsageError: a column is not.
        """

    def info(self) -> dict[str, Any]:
        """What it holds: counts, model, engine, columns, bytes."""

    def check(self) -> list[str]:
        """What is wrong with it, a line a fault; nothing when it is whole."""

    def close(self) -> None:
        """Let go of what is open."""

    def __len__(self) -> int:
        """How many images there are."""

    def __enter__(self) -> Self:
        """The store itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
