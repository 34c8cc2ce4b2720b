"""The same index in Milvus: embedded in a file, or on a cluster, by the URI alone."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..search._milvus_store import MOST, MilvusStore, encode_id
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance, unique_ids
from ..structures.arrays import StringArray
from .columns import Metadata, decode_column, encode_columns, kind_of_column
from .database import DatabaseIndex, check_space, hide_password
from .filters import Column, Comparison, Filter, Joined, Literal, parse_filter
from .incoming import as_queries, check_list, refuse_known

SCHEME = "milvus://"
WORDS = frozenset(  # of the filters of Milvus, in small letters
    """and or not in is like null exists true false iso interval json_contains json_contains_all
    json_contains_any array_contains array_contains_all array_contains_any array_length text_match
    phrase_match random_sample""".split()
)
SPELLED: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


class MilvusIndex(DatabaseIndex):
    """Images by id in a collection of Milvus, see `Store`.

    The collection keeps vectors and metadata; Milvus proposes, and what it proposes is scored
    exactly. Other than in a folder, a change of more than 1,000 images is stored in pieces: killed, some
    of them may be there, and the same `upsert` makes it whole.

    Args:
        uri: a path that ends in ".db" for Milvus Lite, embedded, or "milvus://host:port"; behind
            "#" the name of the collection, "gallery" when there is none.
        token: "user:password" or a key, for a cluster that asks for it.

    Raises:
        DataError: there is no such collection.
        UsageError: pymilvus is not installed. RunError: the database does not answer.
    """

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

    @classmethod
    def create(
        cls,
        uri: str,
        dim: int,
        metric: str = "cosine",
        index: str = "FLAT",
        provenance: Provenance | None = None,
        token: str = "",
    ) -> MilvusIndex:
        """Make an empty collection.

        Args:
            uri, token: as for the class.
            dim: numbers of a vector.
            metric: "cosine", "ip" or "l2".
            index: a Milvus index type, such as "FLAT" or "HNSW".
            provenance: what will make the vectors.

        Raises:
            UsageError: the collection is there already, or an argument makes no sense.
        """
        check_space(dim, metric)
        with connect(uri, token) as store:
            if store.exists():
                raise UsageError(
                    f"{hide_password(uri)}: is an index already: name another collection"
                )
            store.create(dim, metric, provenance or {}, index, metadata=True)
        return cls(uri, token)

    def close(self) -> None:
        """Close the connection, and an embedded database with it."""
        self.store.close()

    def __len__(self) -> int:
        return self.store.count()

    def add(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images that are not there yet, see `Store.add`."""
        names = unique_ids(ids, "images")
        known = names[self.known(names)].tolist()
        if known:
            raise refuse_known(self.name, known, len(names))
        self._put(names, vectors, metadata or {}, provenance or {})
        return len(names)

    def upsert(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images, in the place of those that are there, see `Store.upsert`."""
        names = unique_ids(ids, "images")
        told: dict[str, Any] = dict(metadata or {})
        with self._reading("read metadata"):
            there = self._read(names.tolist(), list(self.columns))
        for column in self.columns if there else ():
            if column not in told:
                told[column] = [there.get(name, {}).get(column) for name in names.tolist()]
        self._put(names, vectors, told, provenance or {})
        return len(there)

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there."""
        check_list(ids)
        return self.store.delete(dict.fromkeys(ids))

    def select(self, filter: str) -> StringArray:
        """The ids of the images that fulfill a condition, sorted."""
        with self._reading("select images"):
            wanted = parse_filter(filter, self.columns)
        return self.store.ids(spell_filter(wanted))

    def search(self, queries: Embeddings | np.ndarray, k: int = 10, filter: str = "") -> Ranking:
        """The k best images of every query, see `Store.search`."""
        if not 1 <= k <= MOST:
            raise UsageError(f"k must be 1 to {MOST} here, got {k}")
        asked = as_queries(queries)
        with self._reading("search"):
            self.check_fits(asked, "queries")
            wanted = parse_filter(filter, self.columns) if filter else None
        count = len(self)
        condition = spell_filter(wanted) if wanted else ""
        names = self.store.nearest(asked, k, condition) if count else [[] for _ in asked.ids]
        gallery = self.store.vectors(sorted({name for row in names for name in row}))
        call = f"milvus, collection {self.store.collection!r}, k={k}"
        told = {"search": call, "images": count} | ({"filter": filter} if filter else {})
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
        """What it holds."""
        with self._reading("describe the index"):
            count = len(self)
        return {
            "uri": self.name,
            "images": count,
            "dim": self.dim,
            "metric": self.about["metric"],
            "model": self.provenance.get("model"),
            "columns": self.columns,
            "engine": f"milvus {self.store.client.get_server_version()}",
        }

    def check(self) -> list[str]:
        """What is wrong: images that are counted and not listed."""
        listed, counted = len(self.store.ids()), len(self)
        return [] if listed == counted else [f"{self.name}: {counted} images, {listed} are listed"]

    def _put(
        self, names: StringArray, vectors: Any, metadata: Metadata, provenance: Provenance
    ) -> None:
        array = vectors if hasattr(vectors, "shape") else np.asarray(vectors, np.float32)
        given = Embeddings(names, array, provenance)
        with self._reading("describe the index"):
            self.check_fits(given)
        columns = encode_columns(metadata, names, self.columns)
        kinds = {name: kind_of_column(column) for name, column in columns.items()}
        for name in sorted(set(kinds) - set(self.columns)):
            _check_column(name)
        told = {
            "columns": {**self.columns, **kinds},
            "passport": self._merge_passport(provenance, not len(self)),
        }
        self.store.note(told)
        self.about = self.store.about()
        values = {name: decode_column(column) for name, column in columns.items()}
        self.store.upsert(given, metadata=_rows_of(values, len(names)))

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        self.about = self.store.about()
        yield

    def _read(self, ids: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The values of some images that are there, by id."""
        return self.store.fields([str(name) for name in ids], columns)


def connect(uri: str, token: str = "") -> MilvusStore:
    """The database of a URI, and its collection."""
    address, _, collection = uri.partition("#")
    if address.startswith(SCHEME):
        address = f"http://{address[len(SCHEME) :]}"
    return MilvusStore(address, collection or "gallery", token)


def _check_column(name: str) -> None:
    if name == "vector" or name.lower() in WORDS:
        raise UsageError(
            f"no column can be called {name!r} in Milvus, where it has a meaning: call it otherwise"
        )


def is_milvus(uri: str) -> bool:
    """Whether a name is one of an index in Milvus."""
    return uri.startswith(SCHEME) or uri.partition("#")[0].endswith(".db")


def spell_filter(wanted: Filter) -> str:
    """A filter as an expression of Milvus."""
    return _spell(wanted.condition, False)


def _spell(condition: Comparison | Joined, negated: bool) -> str:
    # "not" is moved inwards: in Milvus the opposite of a missing value does not hold either.
    if isinstance(condition, Joined):
        if condition.word == "not":
            return _spell(condition.parts[0], not negated)
        word = {"and": "or", "or": "and"}[condition.word] if negated else condition.word
        return f" {word} ".join(f"({_spell(part, negated)})" for part in condition.parts)
    left, sign, right = condition
    names = [side.name for side in (left, right) if isinstance(side, Column) and side.name != "id"]
    if sign in (ast.Is, ast.IsNot):
        wanted = (sign is ast.Is) != negated
        if not names:
            return 'id == ""' if wanted else 'id != ""'
        return f"not exists {names[0]}" if wanted else f"exists {names[0]}"
    order = sign in (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
    sides = [side for side in (left, right) if isinstance(side, Column) and side.name == "id"]
    if sides and (order or len(sides) + len(names) > 1):
        raise UsageError("ids in Milvus can be compared by ==, != and in with texts only")
    if sides:
        left, right = (_encode_ids(side) for side in (left, right))
    there = " and ".join(f"(exists {name})" for name in names)
    told = (
        f"{_spell_side(left)} {SPELLED[OPPOSITE[sign] if negated else sign]} {_spell_side(right)}"
    )
    if not negated:
        return f"{there} and ({told})" if there else told
    missing = " or ".join(f"(not exists {name})" for name in names)
    return f"{missing} or ({there} and ({told}))" if there else told


def _encode_ids(side: Column | Literal) -> Column | Literal:
    """A text as an id is stored."""
    if isinstance(side, Column):
        return side
    if isinstance(side.value, list):
        return Literal([encode_id(one) for one in side.value], side.kind)
    return Literal(encode_id(side.value), side.kind)


def _spell_side(side: Column | Literal) -> str:
    if isinstance(side, Column):
        return side.name
    values = side.value if isinstance(side.value, list) else [side.value]
    spelled = [json.dumps(value, ensure_ascii=False) for value in values]
    return f"[{', '.join(spelled)}]" if isinstance(side.value, list) else spelled[0]


def _rows_of(columns: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """Columns as a dict an image, without what is missing."""
    return [
        {name: values[row] for name, values in columns.items() if values[row] is not None}
        for row in range(count)
    ]
