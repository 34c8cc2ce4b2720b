"""What the indexes in databases share: what an index says of itself, by the database's word."""

from __future__ import annotations

import abc
import contextlib
import pathlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..errors import DataError, UsageError, shorten
from ..knn.vectors import METRICS
from ..search._rescoring import look_up_rows, rescore_pairs
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance
from ..structures.arrays import BoolArray, StringArray
from ..structures.provenance import check_same_model
from ..suggestions import did_you_mean
from .incoming import merge_provenances

# Before the first @, as libpq reads it, stand user and password.
ADDRESS = re.compile(
    r"\w+://(?:[^@/]*@)?(?P<host>[\w.,:%\[\]-]*)(?P<path>/[\w.%-]*)?"
    r"(?:\?(?P<settings>[^#]*))?(?P<index>#\w*)?"
)
SHOWN = ("host", "hostaddr", "port", "dbname")  # settings that say which database it is


class DatabaseIndex(abc.ABC):
    """An index in a database.

    `name` is its URI; `about` says "dim", "metric", "columns" and "passport", the provenance.
    """

    name: str
    about: dict[str, Any]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @abc.abstractmethod
    def _reading(self, what: str) -> contextlib.AbstractContextManager[None]:
        """A block that reads: `about` is read anew before it, as others may have changed it.

        Args:
            what: it does, for errors.
        """

    @abc.abstractmethod
    def _read(self, ids: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The values of some images that are there, by id; one that is missing is left out."""

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return int(self.about["dim"])

    @property
    def columns(self) -> dict[str, str]:
        """The columns of metadata, each "number" or "text"."""
        return dict(self.about.get("columns", {}))

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the vectors."""
        return dict(self.about["passport"])

    @property
    def rejects(self) -> pathlib.Path:
        """The file in which images that cannot be read are named."""
        return pathlib.Path("rejects.csv")

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Nothing is put off."""
        yield

    def check_fits(self, embeddings: Embeddings, what: str = "images") -> None:
        """Check that embeddings are of the model and dimension of the index.

        Raises:
            ArtefactError: they are not; says in which they differ.
        """
        empty = np.zeros((0, self.dim), np.float32)
        mine = Embeddings(np.zeros(0, str), empty, self.provenance)
        check_same_model(embeddings, mine, what, "index")

    def known(self, ids: Sequence[str] | StringArray) -> BoolArray:
        """Which of some images [N] are there."""
        with self._reading("look for images"):
            there = self._read([str(name) for name in ids], [])
        return np.array([str(name) in there for name in ids], bool)

    def metadata(
        self, ids: Sequence[str] | StringArray, columns: Sequence[str] | None = None
    ) -> dict[str, list[Any]]:
        """The metadata of some images by column, see `Store.metadata`."""
        wanted = [str(name) for name in ids]
        with self._reading("read metadata"):
            names = list(self.columns) if columns is None else list(columns)
            for name in names:
                if name not in self.columns:
                    hint = did_you_mean(name, self.columns)
                    raise UsageError(f"{self.name}: no column is called {name!r}{hint}")
            rows = self._read(wanted, names)
        self._check_all_there(wanted, rows)
        return {column: [rows[name].get(column) for name in wanted] for column in names}

    def _check_all_there(self, wanted: Sequence[str], there: Container[str]) -> None:
        """Check that all wanted images are there.

        Raises:
            DataError: one is not.
        """
        missing = [name for name in wanted if name not in there]
        if missing:
            raise DataError(
                f"{self.name}: {len(missing)} of {len(wanted)} images are not there, such as"
                f" {shorten(missing[0])!r}"
            )

    def _rank(
        self,
        queries: Embeddings,
        names: Sequence[Sequence[str]],
        gallery: Embeddings,
        k: int,
        told: Mapping[str, Any],
    ) -> Ranking:
        """The k best of what the database proposed, scored exactly.

        Args:
            queries: [Q].
            names: [Q] ids that are proposed for each.
            gallery: all of these, in the order of their ids.
            k: how many are kept.
            told: for the provenance.
        """
        width = max(map(len, names), default=0)
        rows = look_up_rows(names, gallery.ids, width)
        found, scores = rescore_pairs(queries, gallery, rows, k, self.about["metric"])
        listed = np.unique(found[found >= 0])
        indices = np.where(found < 0, -1, np.searchsorted(listed, found))
        sides = {"queries": dict(queries.provenance), "gallery": self.provenance}
        provenance = {**told, "exact": False, **sides}
        return Ranking(queries.ids, gallery.ids[listed], indices, scores, provenance)

    def _merge_passport(self, given: Provenance, empty: bool) -> dict[str, Any]:
        """The provenance after more images, which fit; `empty` where there are none yet."""
        told = self.provenance
        # An index that was emptied may tell the root of images that are gone.
        return merge_provenances(told, given, first=empty and "root" not in told)


def hide_password(uri: str) -> str:
    """A URI as an error tells it: without user, password, and settings that need not be known.

    What is no URI is a path, and stays as it is.
    """
    scheme, sign, _ = uri.partition("://")
    if not sign:
        return uri
    parts = ADDRESS.fullmatch(uri)
    if parts is None:
        return f"{scheme}://…"
    settings = (pair.partition("=") for pair in (parts["settings"] or "").split("&"))
    shown = "&".join(f"{key}={value}" for key, _, value in settings if key in SHOWN)
    pieces = (
        f"{scheme}://",
        parts["host"],
        parts["path"],
        f"?{shown}" if shown else "",
        parts["index"],
    )
    return "".join(piece or "" for piece in pieces)


def check_space(dim: int, metric: str) -> None:
    """Check what the vectors of a new index are said to be.

    Raises:
        UsageError: an argument makes no sense.
    """
    if dim < 1 or metric not in METRICS:
        raise UsageError(
            f"dim must be 1 or more and metric one of {', '.join(METRICS)}, got {dim} and {metric!r}"
        )
