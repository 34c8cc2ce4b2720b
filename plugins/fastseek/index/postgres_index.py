"""The same index in PostgreSQL with pgvector, by URI: a table, and a transaction for every change."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, RunError, UsageError, shorten
from ..knn.vectors import blocks
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance, unique_ids
from ..structures.arrays import StringArray
from ._sql_filters import spell_filter
from .columns import NUMBER, Metadata, decode_column, encode_columns, kind_of_column
from .database import DatabaseIndex, check_space, hide_password
from .incoming import as_queries, check_list, refuse_known

SCHEMES = ("postgresql://", "postgres://")
ABOUT = "fastseek_indexes"  # the table in which every index says what it is
ENGINES = ("flat", "hnsw")
SPARE = 16  # candidates beside the k best: PostgreSQL scores in another precision
ROWS = 1000  # ids asked for, and vectors written, at once
LONGEST_NAME = 63  # bytes of the name of a column; PostgreSQL cuts the rest off
KEPT_NAMES = ("vector", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")  # every table has
HNSW_DIM = 2000  # numbers a vector may have in a graph of pgvector


class PostgresIndex(DatabaseIndex):
    """Images by id in a table of PostgreSQL, see `Store`.

    The table has the columns id and vector, and one a column of metadata, so that other programs
    can read it, too. A change is one transaction. PostgreSQL proposes, and what it proposes is
    scored exactly.

    Args:
        uri: "postgresql://user@host/database"; behind "#" the name of the index, "gallery" when
            there is none.

    Raises:
        DataError: there is no such index. UsageError: psycopg is not installed.
        RunError: the database does not answer.
    """

    def __init__(self, uri: str) -> None:
        self.name = hide_password(uri).partition("#")[0]
        self.connection, self.index = _connect(uri)
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
    ) -> PostgresIndex:
        """Make an empty index; the extension "vector" is made when it is missing.

        Args:
            uri: as for the class.
            dim: numbers of a vector.
            metric: "cosine", "ip" or "l2".
            engine: "flat" compares with every image; "hnsw" is a graph of pgvector.
            provenance: what will make the vectors.

        Raises:
            UsageError: the index is there already, or an argument makes no sense.
        """
        _check_settings(dim, metric, engine)
        told = {
            "dim": dim,
            "metric": metric,
            "engine": engine,
            "columns": {},
            "passport": {**(provenance or {})},
        }
        made = cls.__new__(cls)
        made.name = hide_password(uri).partition("#")[0]
        made.connection, made.index = _connect(uri)
        made.about = told
        try:
            with made._transaction("make the index"):
                made._create_tables()
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def __len__(self) -> int:
        with self._transaction("count"):
            return int(self._run("SELECT count(*) FROM {table}").fetchone()[0])

    def add(
        self,
        ids: Sequence[str] | StringArray,
        vectors: Any,
        metadata: Metadata | None = None,
        provenance: Provenance | None = None,
    ) -> int:
        """Put in images that are not there yet, see `Store.add`."""
        names = unique_ids(ids, "images")
        self._put(names, vectors, metadata or {}, provenance or {}, replace=False)
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
        return self._put(names, vectors, metadata or {}, provenance or {}, replace=True)

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there."""
        check_list(ids)
        names = [str(name) for name in ids]
        with self._transaction("delete images"):
            done = self._run("DELETE FROM {table} WHERE id = ANY(%s)", [names])
            return int(done.rowcount)

    def select(self, filter: str) -> StringArray:
        """The ids of the images that fulfill a condition, sorted."""
        with self._reading("select images"):
            condition, values = spell_filter(filter, self.columns)
            query = f"SELECT id FROM {{table}} WHERE {condition} ORDER BY id"
            rows = self._run(query, values).fetchall()
        return np.array([row[0] for row in rows], str)

    def search(self, queries: Embeddings | np.ndarray, k: int = 10, filter: str = "") -> Ranking:
        """The k best images of every query, see `Store.search`."""
        if k < 1:
            raise UsageError(f"k must be 1 or more, got {k}")
        asked = as_queries(queries)
        with self._reading("search"):
            self.check_fits(asked, "queries")
            condition, values = spell_filter(filter, self.columns)
            names = self._propose(asked, k, condition, values)
            listed = sorted({name for row in names for name in row})
            gallery = self._read_vectors(listed)
            count = int(self._run("SELECT count(*) FROM {table}").fetchone()[0])
        call = f"postgres, index {self.index!r}, k={k}, engine={self.about['engine']!r}"
        told = {"search": call, "images": count} | ({"filter": filter} if filter else {})
        return self._rank(asked, names, gallery, k, told)

    def vectors(self, ids: Sequence[str] | StringArray) -> Embeddings:
        """The stored vectors of some images; for "cosine" they have length 1.

        Raises:
            DataError: an image is not there.
        """
        with self._reading("read vectors"):
            return self._read_vectors([str(name) for name in ids])

    def info(self) -> dict[str, Any]:
        """What it holds."""
        with self._reading("measure the table"):
            count = len(self)
            size = self._run("SELECT pg_total_relation_size('{table}')").fetchone()[0]
        return {
            "uri": f"{self.name}#{self.index}",
            "images": count,
            "dim": self.dim,
            "metric": self.about["metric"],
            "engine": self.about["engine"],
            "model": self.provenance.get("model"),
            "columns": self.columns,
            "bytes": int(size),
        }

    def check(self) -> list[str]:
        """What is wrong: an index of the table that PostgreSQL calls invalid."""
        with self._transaction("check the table"):
            query = (
                "SELECT indexrelid::regclass::text FROM pg_index"
                " WHERE indrelid = '{table}'::regclass AND NOT indisvalid"
            )
            rows = self._run(query).fetchall()
        return [f"{self.name}: the index {row[0]} is not valid" for row in rows]

    def _create_tables(self) -> None:
        self._run("CREATE EXTENSION IF NOT EXISTS vector")
        self._run(f"CREATE TABLE IF NOT EXISTS {ABOUT} (name text PRIMARY KEY, about jsonb)")
        page = json.dumps(self.about, default=str)
        query = f"INSERT INTO {ABOUT} VALUES (%s, %s) ON CONFLICT DO NOTHING"
        if not self._run(query, [self.index, page]).rowcount:
            raise UsageError(f"{self.name}#{self.index}: is an index already: name another one")
        self._run(
            f'CREATE TABLE {{table}} (id text COLLATE "C" PRIMARY KEY,'
            f" vector vector({self.dim}) NOT NULL)"
        )
        if self.about["engine"] == "hnsw":
            kind = "vector_l2_ops" if self.about["metric"] == "l2" else "vector_ip_ops"
            self._run(f"CREATE INDEX ON {{table}} USING hnsw (vector {kind})")

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

    def _put(
        self,
        names: StringArray,
        vectors: Any,
        metadata: Metadata,
        provenance: Provenance,
        replace: bool,
    ) -> int:
        array = vectors if hasattr(vectors, "shape") else np.asarray(vectors, np.float32)
        given = Embeddings(names, array, provenance)
        before = self.about
        try:
            with self._transaction("store images"):
                # One writer at a time: columns and provenance are read, and then written.
                self._run("SELECT pg_advisory_xact_lock(hashtext('{table}'))")
                self.about = self._read_about()
                self.check_fits(given)
                columns = self._add_columns(metadata, names, provenance)
                self._copy(given, columns)
                known = self._find_arrived()
                if known and not replace:
                    raise refuse_known(self.name, known, len(names))
                self._move(list(columns))
        except BaseException:
            self.about = before
            raise
        return len(known)

    def _find_arrived(self) -> list[str]:
        """Which of the images that arrived are there, sorted."""
        query = "SELECT arrived.id FROM arrived JOIN {table} USING (id) ORDER BY id"
        return [row[0] for row in self._run(query).fetchall()]

    def _add_columns(
        self, metadata: Metadata, names: StringArray, provenance: Provenance
    ) -> dict[str, list[Any]]:
        encoded = encode_columns(metadata, names, self.columns)
        kinds = {name: kind_of_column(column) for name, column in encoded.items()}
        for name in sorted(set(kinds) - set(self.columns)):
            _check_column(name)
            kind = "double precision" if kinds[name] == NUMBER else 'text COLLATE "C"'
            self._run(f'ALTER TABLE {{table}} ADD COLUMN "{name}" {kind}')
        empty = self._run("SELECT NOT EXISTS (SELECT FROM {table})").fetchone()[0]
        self.about |= {
            "columns": {**self.columns, **kinds},
            "passport": self._merge_passport(provenance, empty),
        }
        page = json.dumps(self.about, default=str)
        self._run(f"UPDATE {ABOUT} SET about = %s WHERE name = %s", [page, self.index])
        return {name: decode_column(column) for name, column in encoded.items()}

    def _copy(self, given: Embeddings, columns: Mapping[str, list[Any]]) -> None:
        """Put the images into a table of this transaction."""
        self._run("CREATE TEMPORARY TABLE arrived (LIKE {table}) ON COMMIT DROP")
        listed = ", ".join(f'"{name}"' for name in ("id", "vector", *columns))
        ids = given.ids.tolist()
        with self.connection.cursor().copy(f"COPY arrived ({listed}) FROM STDIN") as copy:
            for here, block in blocks(given, self.about["metric"], ROWS):
                for row, vector in enumerate(block.tolist(), here.start):
                    values = (column[row] for column in columns.values())
                    copy.write_row((ids[row], _spell_vector(vector), *values))

    def _move(self, columns: Sequence[str]) -> None:
        listed = ", ".join(f'"{name}"' for name in ("id", "vector", *columns))
        changed = ", ".join(f'"{name}" = excluded."{name}"' for name in ("vector", *columns))
        self._run(
            f"INSERT INTO {{table}} ({listed}) SELECT {listed} FROM arrived"
            f" ON CONFLICT (id) DO UPDATE SET {changed}"
        )

    def _propose(
        self, queries: Embeddings, k: int, condition: str, values: list[Any]
    ) -> list[list[str]]:
        """The ids of the k best images of every query and of some more, as PostgreSQL finds them."""
        vectors = [
            _spell_vector(vector)
            for _, block in blocks(queries, self.about["metric"], ROWS)
            for vector in block.tolist()
        ]
        if self.about["engine"] == "flat":
            return self._find_nearest(vectors, k + SPARE, condition, values)
        self._run(f"SET LOCAL hnsw.ef_search = {min(1000, max(100, k + SPARE))}")
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
        sign = "<->" if self.about["metric"] == "l2" else "<#>"
        order = f"vector {sign} %s::vector"
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
        found: dict[str, list[float]] = {}
        for start in range(0, len(ids), ROWS):
            query = "SELECT id, vector::real[] FROM {table} WHERE id = ANY(%s)"
            found |= dict(self._run(query, [list(ids[start : start + ROWS])]).fetchall())
        self._check_all_there(ids, found)
        vectors = np.array([found[name] for name in ids], np.float32).reshape(len(ids), self.dim)
        return Embeddings(np.array(ids, str), vectors, self.provenance)

    def _read(self, ids: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        listed = ", ".join(f'"{name}"' for name in ("id", *columns))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), ROWS):
            query = f"SELECT {listed} FROM {{table}} WHERE id = ANY(%s)"
            rows = self._run(query, [list(ids[start : start + ROWS])]).fetchall()
            for name, *values in rows:
                pairs = zip(columns, map(_plain, values), strict=True)
                found[name] = {key: value for key, value in pairs if value is not None}
        return found

    def _run(self, query: str, values: Sequence[Any] | None = None) -> Any:
        """Do a statement; {table} stands for the table of the index."""
        return self.connection.execute(query.replace("{table}", f'"fastseek_{self.index}"'), values)

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """A transaction that sees one state of the index, which is described by `about`."""
        with self._transaction(what):
            self._run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self.about = self._read_about()
            yield

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[None]:
        """All of the block or nothing; failures of the database as ours."""
        import psycopg

        try:
            with self.connection.transaction():
                yield
        except UnicodeEncodeError as error:
            raise DataError(
                f"{shorten(str(error.object))!r} is no UTF-8, which PostgreSQL needs: rename the"
                " file, or mend the text; nothing was changed"
            ) from error
        except psycopg.Error as error:
            told = " ".join(str(error).split())
            raise RunError(
                f"PostgreSQL at {self.name} could not {what}: {told}; nothing was changed"
            ) from error


def is_postgres(uri: str) -> bool:
    """Whether a name is one of an index in PostgreSQL."""
    return uri.startswith(SCHEMES)


def _connect(uri: str) -> tuple[Any, str]:
    """A connection, and the name of the index."""
    try:
        import psycopg
    except ImportError as error:
        raise UsageError("psycopg is not installed: pip install 'fastseek[postgres]'") from error
    address, _, index = uri.partition("#")
    index = index or "gallery"
    if not index.isidentifier() or not index.isascii():
        raise UsageError(f"no index can be called {index!r}: use letters, digits and _")
    try:
        return psycopg.connect(address, autocommit=True), index
    except psycopg.Error as error:
        told = " ".join(str(error).split())
        where = hide_password(uri).partition("#")[0]
        raise RunError(f"PostgreSQL at {where} does not answer: {told}") from error


def _check_settings(dim: int, metric: str, engine: str) -> None:
    check_space(dim, metric)
    if engine not in ENGINES:
        raise UsageError(
            f"engine in PostgreSQL must be one of {', '.join(ENGINES)}, got {engine!r}"
        )
    if engine == "hnsw" and dim > HNSW_DIM:
        raise UsageError(f"hnsw of pgvector takes {HNSW_DIM} numbers at most, got {dim}: use flat")


def _check_column(name: str) -> None:
    if name in KEPT_NAMES or len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"no column can be called {name!r} in PostgreSQL: a name has {LONGEST_NAME} bytes at"
            f" most, and is none of {', '.join(KEPT_NAMES)}"
        )


def _spell_vector(vector: Sequence[float]) -> str:
    return f"[{','.join(map(repr, vector))}]"


def _plain(value: Any) -> Any:
    """A whole number without its point, as other indexes give it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
