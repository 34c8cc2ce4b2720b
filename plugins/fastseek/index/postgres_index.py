"""The same index in PostgreSQL with pgvector, by URI: a table, and a transaction for every change."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import DataError, UsageError
from ..knn.vectors import blocks
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance
from ..structures.arrays import StringArray
from ._postgres_connection import PostgresConnection
from ._postgres_copy import as_stored, copy_rows
from ._postgres_engines import (
    FLAT,
    HNSW,
    TYPES,
    check_table,
    read_engine,
    read_settings,
    spell_operators,
)
from ._postgres_graph import build_graph, drop_graphs, find_graphs
from ._sql_filters import spell_filter
from .addresses import hide_password
from .columns import NUMBER
from .database import DatabaseIndex, Piece, check_space
from .incoming import as_queries, check_list

SCHEMES = ("postgresql://", "postgres://")
ABOUT = "fastseek_indexes"  # the table in which every index says what it is
SPARE = 16  # candidates beside the k best: PostgreSQL scores in another precision
ROWS = 1000  # vectors read at once
KEYS = 10_000  # ids asked for at once
LONGEST_NAME = 63  # bytes of the name of a column; PostgreSQL cuts the rest off
KEPT_NAMES = ("vector", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")  # every table has
Answer = TypeVar("Answer")


class PostgresIndex(DatabaseIndex):
    """Images by id in a table of PostgreSQL, see `Store`.

    The table has the columns id and vector, and one a column of metadata, so that other programs
    can read it, too. A change is one transaction, one of more than 20,000 images a transaction for
    each 20,000. PostgreSQL proposes, and what it proposes is scored exactly. What fails for a
    moment, such as a server that is started again, is tried again for a minute.

    Args:
        uri: "postgresql://user@host/database"; behind "#" the name of the index, "gallery" when
            there is none.

    Raises:
        DataError: there is no such index. UsageError: psycopg is not installed.
        RunError: the database does not answer.
    """

    piece = 20_000

    def __init__(self, uri: str) -> None:
        self.name = hide_password(uri).partition("#")[0]
        self.index = _read_name(uri)
        self.database = PostgresConnection(uri.partition("#")[0], self.name)
        try:
            with self._reading("read the index"):
                pass
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        uri: str,
        dim: int,
        metric: str = "cosine",
        engine: str = "flat",
        provenance: Provenance | None = None,
        dtype: str = "float32",
    ) -> PostgresIndex:
        """Make an empty index; the extension "vector" is made when it is missing.

        Args:
            uri: as for the class.
            dim: numbers of a vector.
            metric: "cosine", "ip" or "l2".
            engine: "flat" compares with every image; "hnsw" is a graph of pgvector, also with its
                settings, such as "hnsw(m=16, ef_construction=64, ef=100)".
            provenance: what will make the vectors.
            dtype: of the stored vectors: "float32", or "float16" for half the space.

        Raises:
            UsageError: the index is there already, or an argument makes no sense.
        """
        check_space(dim, metric)
        made = cls.__new__(cls)
        kind = read_engine(engine)
        check_table(kind, dim, dtype)
        made.about = {
            "dim": dim,
            "metric": metric,
            "engine": str(kind),
            "dtype": dtype,
            "columns": {},
            "passport": {**(provenance or {})},
        }
        made.name = hide_password(uri).partition("#")[0]
        made.index = _read_name(uri)
        made.database = PostgresConnection(uri.partition("#")[0], made.name)
        try:
            with made.database.transaction("make the index"):
                made._create_tables()
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Close the connection."""
        self.database.close()

    def __len__(self) -> int:
        def work(_: bool) -> int:
            with self.database.transaction("count"):
                return int(self._run("SELECT count(*) FROM {table}").fetchone()[0])

        return self._attempt(work)

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there."""
        check_list(ids)
        names = [str(name) for name in ids]

        def work(_: bool) -> int:
            with self.database.transaction("delete images"):
                done = self._run("DELETE FROM {table} WHERE id = ANY(%s)", [names])
                return int(done.rowcount)

        return self._attempt(work)

    def select(self, filter: str) -> StringArray:
        """The ids of the images that fulfill a condition, sorted."""

        def work(_: bool) -> StringArray:
            with self._reading("select images"):
                condition, values = spell_filter(filter, self.columns)
                query = f"SELECT id FROM {{table}} WHERE {condition} ORDER BY id"
                rows = self._run(query, values).fetchall()
            return np.array([row[0] for row in rows], str)

        return self._attempt(work)

    def search(self, queries: Embeddings | np.ndarray, k: int = 10, filter: str = "") -> Ranking:
        """The k best images of every query, see `Store.search`."""
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        asked = as_queries(queries)

        def work(_: bool) -> tuple[list[list[str]], Embeddings]:
            with self._reading("search"):
                self.check_fits(asked, "queries")
                condition, values = spell_filter(filter, self.columns)
                names = self._propose(asked, k, condition, values)
                listed = sorted({name for row in names for name in row})
                return names, self._read_vectors(listed)

        names, gallery = self._attempt(work)
        call = f"postgres, index {self.index!r}, k={k}, engine={self.about['engine']!r}"
        told = {"search": call} | ({"filter": filter} if filter else {})
        return self._rank(asked, names, gallery, k, told)

    def vectors(self, ids: Sequence[str] | StringArray) -> Embeddings:
        """The stored vectors of some images; for "cosine" they have length 1.

        Raises:
            DataError: an image is not there.
        """

        def work(_: bool) -> Embeddings:
            with self._reading("read vectors"):
                return self._read_vectors([str(name) for name in ids])

        return self._attempt(work)

    def info(self) -> dict[str, Any]:
        """What it holds."""
        with self._reading("measure the table"):
            count = len(self)
            size = self._run("SELECT pg_total_relation_size('{table}')").fetchone()[0]
        return {
            "uri": f"{self.name}#{self.index}",
            "images": count,
            "dim": self.dim,
            "dtype": self.about.get("dtype", "float32"),
            "metric": self.about["metric"],
            "engine": self.about["engine"],
            "model": self.provenance.get("model"),
            "columns": self.columns,
            "bytes": int(size),
        }

    def check(self) -> list[str]:
        """What is wrong: an index of the table that PostgreSQL calls invalid, a graph that is
        missing, or loading that was stopped.
        """
        with self._reading("check the table"):
            query = (
                "SELECT indexrelid::regclass::text FROM pg_index"
                " WHERE indrelid = '{table}'::regclass AND NOT indisvalid"
            )
            rows = self._run(query).fetchall()
            engine, _ = read_settings(self.about)
            lost = engine.name == HNSW and not find_graphs(self._run)
        faults = [f"{self.name}: the index {row[0]} is not valid" for row in rows]
        faults += [f"{self.name}: the graph is missing, all images are compared"] * lost
        return faults + self._check_loading()

    def _attempt(self, work: Callable[[bool], Answer]) -> Answer:
        return self.database.attempt(work)

    def _create_tables(self) -> None:
        self._run("CREATE EXTENSION IF NOT EXISTS vector")
        self._run(f"CREATE TABLE IF NOT EXISTS {ABOUT} (name text PRIMARY KEY, about jsonb)")
        page = json.dumps(self.about, default=str)
        query = f"INSERT INTO {ABOUT} VALUES (%s, %s) ON CONFLICT DO NOTHING"
        if not self._run(query, [self.index, page]).rowcount:
            raise UsageError(f"{self.name}#{self.index}: is an index already: name another one")
        kind = TYPES[self.about["dtype"]]
        self._run(
            f'CREATE TABLE {{table}} (id text COLLATE "C" PRIMARY KEY,'
            f" vector {kind}({self.dim}) NOT NULL)"
        )
        build_graph(self._run, self.about)

    def _begin_load(self) -> None:
        # Into an empty table a graph is built at the end, in a tenth of the time.
        with self.database.transaction("begin to load"):
            if self._run("SELECT NOT EXISTS (SELECT FROM {table})").fetchone()[0]:
                drop_graphs(self._run)

    def _end_load(self, many: bool) -> None:
        if many:
            with self.database.transaction("build the graph"):
                build_graph(self._run, self.about)

    def _read_about(self) -> dict[str, Any]:
        there = self._run("SELECT to_regclass(%s)", [ABOUT]).fetchone()[0]
        query = f"SELECT about FROM {ABOUT} WHERE name = %s"
        row = self._run(query, [self.index]).fetchone() if there else None
        if row is None:
            raise DataError(
                f"{self.name}: holds no index {self.index!r}: make one with `fastseek index create"
                f" --out URI#{self.index} --dim N`"
            )
        return dict(row[0])

    def _check_column(self, name: str) -> None:
        if name in KEPT_NAMES or len(name.encode()) > LONGEST_NAME:
            raise UsageError(
                f"no column can be called {name!r} in PostgreSQL: a name has {LONGEST_NAME} bytes"
                f" at most, and is none of {', '.join(KEPT_NAMES)}"
            )

    def _tell(self, decide: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        with self.database.transaction("note what the index holds"):
            self._take_turn()
            about = self._read_about()
            told = decide(about)
            columns = about.get("columns", {})
            for name, kind in told.get("columns", {}).items():
                if name not in columns:
                    what = "double precision" if kind == NUMBER else 'text COLLATE "C"'
                    self._run(f'ALTER TABLE {{table}} ADD COLUMN "{name}" {what}')
            self.about = {**about, **told}
            if told:
                page = json.dumps(self.about, default=str)
                self._run(f"UPDATE {ABOUT} SET about = %s WHERE name = %s", [page, self.index])

    def _take_turn(self) -> None:
        """One writer at a time: columns and provenance are read, and then written."""
        self._run("SELECT pg_advisory_xact_lock(hashtext('{table}'))")

    def _store(self, piece: Piece) -> None:
        with self.database.transaction("store images"):
            given, columns = piece.embeddings, ("vector", *piece.values)
            vectors = as_stored(given, self.about)
            self._copy(given.ids.tolist(), vectors, piece.values)
            listed = _quote("id", *columns)
            changed = ", ".join(f'"{name}" = excluded."{name}"' for name in columns)
            self._run(
                f"INSERT INTO {{table}} ({listed}) SELECT {listed} FROM arrived"
                f" ON CONFLICT (id) DO UPDATE SET {changed}"
            )
            self._run("DROP TABLE arrived")

    def _store_columns(self, ids: Sequence[str], values: Mapping[str, list[Any]]) -> None:
        if not values:
            return
        with self.database.transaction("store metadata"):
            self._copy(ids, None, values)
            changed = ", ".join(f'"{name}" = arrived."{name}"' for name in values)
            self._run(f"UPDATE {{table}} AS t SET {changed} FROM arrived WHERE t.id = arrived.id")
            self._run("DROP TABLE arrived")

    def _copy(
        self, ids: Sequence[str], vectors: np.ndarray | None, values: Mapping[str, list[Any]]
    ) -> None:
        """Put rows into a table of this transaction."""
        columns = _quote("id", *(() if vectors is None else ("vector",)), *values)
        self._run(
            f"CREATE TEMPORARY TABLE arrived ON COMMIT DROP AS SELECT {columns} FROM {{table}}"
            " WITH NO DATA"
        )
        with self.database.copy(f"COPY arrived ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            for part in copy_rows(ids, vectors, values):
                copy.write(part)

    def _propose(
        self, queries: Embeddings, k: int, condition: str, values: list[Any]
    ) -> list[list[str]]:
        """The ids of the k best images of every query and of some more, as PostgreSQL finds them."""
        vectors = [
            _spell_vector(vector)
            for _, block in blocks(queries, self.about["metric"], ROWS)
            for vector in block.tolist()
        ]
        engine, _ = read_settings(self.about)
        if engine.name == FLAT:
            return self._find_nearest(vectors, k + SPARE, condition, values)
        self._run(f"SET LOCAL hnsw.ef_search = {engine.find_width(k + SPARE)}")
        self._run("SET LOCAL hnsw.iterative_scan = strict_order")
        found = self._find_nearest(vectors, k + SPARE, condition, values, in_graph=True)
        # The graph is left after hnsw.max_scan_tuples images, whatever a filter let through.
        few = [row for row, names in enumerate(found) if len(names) < k]
        if few and min(len(found[row]) for row in few) < self._count_up_to(k, condition, values):
            exact = self._find_nearest([vectors[row] for row in few], k + SPARE, condition, values)
            for row, names in zip(few, exact, strict=True):
                found[row] = names
        return found

    def _find_nearest(
        self,
        vectors: Sequence[str],
        limit: int,
        condition: str,
        values: list[Any],
        in_graph: bool = False,
    ) -> list[list[str]]:
        _, dtype = read_settings(self.about)
        sign, _ = spell_operators(self.about["metric"], dtype)
        order = f"vector {sign} %s::{TYPES[dtype]}"
        # By a sum no graph is asked, so that all images are compared.
        order = order if in_graph else f"({order}) + 0, id"
        query = f"SELECT id FROM {{table}} WHERE {condition} ORDER BY {order} LIMIT {limit}"
        answers = (self._run(query, [*values, vector]).fetchall() for vector in vectors)
        return [[row[0] for row in rows] for rows in answers]

    def _count_up_to(self, limit: int, condition: str, values: list[Any]) -> int:
        """How many images fulfill a condition, counted no further than a limit."""
        query = (
            f"SELECT count(*) FROM (SELECT FROM {{table}} WHERE {condition} LIMIT {limit}) AS few"
        )
        return int(self._run(query, values).fetchone()[0])

    def _read_vectors(self, ids: Sequence[str]) -> Embeddings:
        """The vectors of some images, in the order of the ids."""
        vectors = np.zeros((len(ids), self.dim), np.float32)
        for start in range(0, len(ids), ROWS):
            some = list(ids[start : start + ROWS])
            query = "SELECT id, vector::real[] FROM {table} WHERE id = ANY(%s)"
            found = dict(self._run(query, [some], binary=True).fetchall())
            self._check_all_there(some, found)
            vectors[start : start + ROWS] = [found[name] for name in some]
        return Embeddings(np.array(ids, str), vectors, self.provenance)

    def _read(self, ids: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        listed = _quote("id", *columns)
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), KEYS):
            query = f"SELECT {listed} FROM {{table}} WHERE id = ANY(%s)"
            rows = self._run(query, [list(ids[start : start + KEYS])]).fetchall()
            for name, *values in rows:
                pairs = zip(columns, map(_plain, values), strict=True)
                found[name] = {key: value for key, value in pairs if value is not None}
        return found

    def _run(self, query: str, values: Sequence[Any] | None = None, binary: bool = False) -> Any:
        """Do a statement; {table} stands for the table of the index."""
        table = f'"fastseek_{self.index}"'
        return self.database.run(query.replace("{table}", table), values, binary)

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """A transaction that sees one state of the index, which is described by `about`."""
        with self.database.transaction(what):
            self._run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self.about = self._read_about()
            yield

    @contextlib.contextmanager
    def _writing(self, what: str, whole: bool) -> Iterator[None]:
        before = getattr(self, "about", {})
        try:
            if whole:
                with self.database.transaction(what):
                    self._take_turn()
                    self.about = self._read_about()
                    yield
            else:
                with self.database.transaction(what):
                    self.about = self._read_about()
                yield
        except BaseException:
            self.about = before
            raise


def is_postgres(uri: str) -> bool:
    """Whether a name is one of an index in PostgreSQL."""
    return uri.startswith(SCHEMES)


def _read_name(uri: str) -> str:
    """The name of the index in a URI."""
    index = uri.partition("#")[2] or "gallery"
    if not index.isidentifier() or not index.isascii():
        raise UsageError(f"no index can be called {index!r}: use letters, digits and _")
    return index


def _quote(*names: str) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _spell_vector(vector: Sequence[float]) -> str:
    return f"[{','.join(map(repr, vector))}]"


def _plain(value: Any) -> Any:
    """A whole number without its point, as other indexes give it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
