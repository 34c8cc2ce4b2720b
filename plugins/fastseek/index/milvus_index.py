"""The same index in Milvus: embedded in a file, or on a cluster, by the URI alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..search._milvus_connection import SCHEME
from ..search._milvus_ids import check_ids
from ..search._milvus_store import MOST, Layout, MilvusStore
from ..search._milvus_types import read_index_type
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance
from ..structures.arrays import StringArray
from ._milvus_filters import WORDS, spell_filter
from .addresses import hide_password
from .columns import TEXT, check_name
from .database import DatabaseIndex, Piece, check_space
from .filters import parse_filter
from .incoming import as_queries, check_list


class MilvusIndex(DatabaseIndex):
    """Images by id in a collection of Milvus, see `Store`.

    The collection keeps vectors and metadata; Milvus proposes, and what it proposes is scored
    exactly, by the vectors as they are stored. Other than in a folder, a change of more than 1,000
    images is stored in pieces: killed, some of them may be there, and the same call makes it whole.

    Args:
        uri: a path that ends in ".db" for Milvus Lite, embedded, or "milvus://host:port"; behind
            "?" `consistency=bounded` and settings of searching, such as `ef=200`; behind "#" the
            name of the collection, "gallery" when there is none.
        token: "user:password" or a key, for a cluster that asks for it.

    Raises:
        DataError: there is no such collection.
        UsageError: pymilvus is not installed. RunError: the database does not answer.
    """

    piece = 1000

    def __init__(self, uri: str, token: str = "") -> None:
        self.name = hide_password(uri)
        self.store = connect(uri, token)
        if not self.store.exists():
            self.close()
            raise DataError(
                f"{self.name}: holds no such collection: make one with `fastseek index create"
                f" --out {self.name} --dim N`"
            )
        self.about = self.store.about()
        if self.about.get("partition"):
            self.store.finish_batches()

    @classmethod
    def create(
        cls,
        uri: str,
        dim: int,
        metric: str = "cosine",
        index: str = "FLAT",
        provenance: Provenance | None = None,
        dtype: str = "float32",
        partition: str = "",
    ) -> MilvusIndex:
        """Make an empty collection.

        Args:
            uri: as for the class; user and password stand in it.
            dim: numbers of a vector.
            metric: "cosine", "ip" or "l2".
            index: a Milvus index type with its settings, such as "FLAT" or "HNSW(M=16, ef=100)".
            provenance: what will make the vectors.
            dtype: of the stored vectors: "float32", or where the server has them "float16",
                "bfloat16" or "int8".
            partition: a column of texts by which images are stored together, so that a filter that
                names one of them reads its part alone; "" for none.

        Raises:
            UsageError: the collection is there already, or an argument makes no sense.
        """
        check_space(dim, metric)
        layout = Layout(read_index_type(index), dtype, True, partition)
        if partition:
            check_name(partition)
            _check_word(partition)
        with connect(uri) as store:
            if store.exists():
                raise UsageError(
                    f"{hide_password(uri)}: is an index already: name another collection"
                )
            store.create(dim, metric, provenance or {}, layout)
        return cls(uri)

    def close(self) -> None:
        """Close the connection, and an embedded database with it."""
        self.store.close()

    def __len__(self) -> int:
        return self.store.count()

    @property
    def columns(self) -> dict[str, str]:
        """The columns of metadata, each "number" or "text"."""
        partition = self.about.get("partition", "")
        return {**super().columns, **({partition: TEXT} if partition else {})}

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there."""
        check_list(ids)
        return self.store.delete(ids)

    def select(self, filter: str) -> StringArray:
        """The ids of the images that fulfill a condition, sorted."""
        with self._reading("select images"):
            return self.store.ids(self._spell(filter))

    def search(self, queries: Embeddings | np.ndarray, k: int = 10, filter: str = "") -> Ranking:
        """The k best images of every query, see `Store.search`."""
        if not 1 <= k <= MOST:
            raise UsageError(f"k must be 1 to {MOST} here, got {k}")
        asked = as_queries(queries)
        with self._reading("search"):
            self.check_fits(asked, "queries")
            condition = self._spell(filter)
        names = self.store.nearest(asked, k, condition)
        gallery = self.store.vectors(sorted({name for row in names for name in row}))
        call = f"milvus, collection {self.store.collection!r}, k={k}"
        engine = f"{self.store.engine()}, {self.about.get('index', 'FLAT')}"
        told = {"search": call, "engine": engine} | ({"filter": filter} if filter else {})
        return self._rank(asked, names, gallery, k, told)

    def vectors(self, ids: Sequence[str] | StringArray) -> Embeddings:
        """The stored vectors of some images; for "cosine" they have length 1.

        Raises:
            DataError: an image is not there.
        """
        wanted = [str(name) for name in ids]
        with self._reading("read vectors"):
            found = self.store.vectors(wanted)
        order = {name: row for row, name in enumerate(found.ids.tolist())}
        self._check_all_there(wanted, order)
        rows = [order[name] for name in wanted]
        return Embeddings(np.array(wanted, str), found.vectors[rows], self.provenance)

    def info(self) -> dict[str, Any]:
        """What it holds; "indexed" images are in the structure, the others are compared singly."""
        with self._reading("describe the index"):
            count = len(self)
        return {
            "uri": self.name,
            "images": count,
            "dim": self.dim,
            "dtype": self.about.get("dtype", "float32"),
            "metric": self.about["metric"],
            "model": self.provenance.get("model"),
            "columns": self.columns,
            "partition": self.about.get("partition") or None,
            "engine": self.store.engine(),
            "index": self.about.get("index", "FLAT"),
            "indexed": self.store.indexed(),
        }

    def check(self) -> list[str]:
        """What is wrong: images that are counted and not listed, or loading that was stopped."""
        with self._reading("check the index"):
            listed, counted = len(self.store.ids()), len(self)
        faults = [f"{self.name}: {counted} images, {listed} are listed"] * (listed != counted)
        return faults + self._check_loading()

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        self.about = self.store.about()
        yield

    @contextlib.contextmanager
    def _writing(self, what: str, whole: bool) -> Iterator[None]:
        self.about = self.store.about()
        yield

    def _read(self, ids: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        partition = self.about.get("partition", "")
        found = self.store.fields(ids, columns)
        if partition in columns:
            for values in found.values():
                if not values[partition]:
                    del values[partition]
        return found

    def _check_column(self, name: str) -> None:
        _check_word(name)

    def _tell(self, decide: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        self.about = self.store.change(decide)

    def _store(self, piece: Piece) -> None:
        ids = piece.embeddings.ids.tolist()
        check_ids(ids)
        # The embedded engine keeps a field of an image that is there, unless it is taken away.
        rows = _rows_of(piece.values, len(ids), missing=piece.known and self.store.local)
        kept = [name for name in self.columns if name not in piece.values]
        if piece.known and kept:
            # Milvus replaces an image as a whole.
            there = self._read(ids, kept)
            rows = [{**there.get(name, {}), **row} for name, row in zip(ids, rows, strict=True)]
        self.store.put(piece.embeddings, rows, self.about)

    def _store_columns(self, ids: Sequence[str], values: Mapping[str, list[Any]]) -> None:
        rows = _rows_of(values, len(ids), missing=True)
        self.store.update(dict(zip(ids, rows, strict=True)))

    def _begin_load(self) -> None:
        pass  # the index is built over what is sealed, while more comes

    def _end_load(self, many: bool) -> None:
        if many or self.store.local:
            self.store.seal()

    def _spell(self, filter: str) -> str:
        if not filter:
            return ""
        wanted = parse_filter(filter, self.columns)
        return spell_filter(wanted, self.about.get("partition", ""))


def connect(uri: str, token: str = "") -> MilvusStore:
    """The database of a URI, and its collection."""
    address, _, collection = uri.partition("#")
    return MilvusStore(address, collection or "gallery", token)


def is_milvus(uri: str) -> bool:
    """Whether a name is one of an index in Milvus."""
    address = uri.partition("#")[0].partition("?")[0]
    return uri.startswith(SCHEME) or "://" not in address and address.endswith(".db")


def _check_word(name: str) -> None:
    if name == "vector" or name.lower() in WORDS:
        raise UsageError(
            f"no column can be called {name!r} in Milvus, where it has a meaning: call it otherwise"
        )


def _rows_of(
    columns: Mapping[str, list[Any]], count: int, missing: bool = False
) -> list[dict[str, Any]]:
    """Columns as a dict an image, with or without what is missing."""
    return [
        {
            name: values[row]
            for name, values in columns.items()
            if missing or values[row] is not None
        }
        for row in range(count)
    ]
