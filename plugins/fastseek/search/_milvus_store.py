"""A collection of vectors by id in Milvus: embedded in a file, or on a cluster, by the URI
alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError
from ..knn.vectors import blocks
from ..progress import progress
from ..structures import Embeddings
from ..structures.provenance import KEYS, first_difference
from . import _milvus_lite
from ._milvus_connection import MilvusConnection
from ._milvus_ids import LONGEST_ID, check_collection, check_ids, decode_id, encode_id
from ._milvus_journal import keep_batch, left_batches
from ._milvus_lock import hold_lock
from ._milvus_types import IndexType, check_server, read_index_type
from ._milvus_vectors import check_vector_type, decode_vectors, encode_vectors

logger = logging.getLogger("fastseek")
METRICS = {
    "cosine": "IP",
    "ip": "IP",
    "l2": "L2",
}  # for "cosine" the vectors are stored with length 1
MOST = 16384  # images a query can get from Milvus
LONGEST_TEXT = 1024  # of what a partition key holds
ROWS = 1000  # ids asked for at once
SENT = 8 << 20  # bytes of vectors sent at once, 5,000 of them at most
FLUSHED = 10_000  # images from which on a change is sealed at once, and its index built
KEYED = (2, 4)  # older servers upsert an image into a partition that is not its own
PARTIAL = (2, 6)  # older servers replace an image as a whole


class Layout(NamedTuple):
    """What a new collection is.

    Args:
        kind: an index type, see `read_index_type`.
        dtype: "float32", or where the server has them "float16", "bfloat16" or "int8".
        metadata: whether images may have further fields; all of the provenance is kept then.
        partition: a column of texts by which images are stored together, "" for none.
    """

    kind: IndexType = read_index_type("FLAT")
    dtype: str = "float32"
    metadata: bool = False
    partition: str = ""


class MilvusStore:
    """Vectors by id, and the provenance of what made them.

    Use it in a `with` block: an embedded file is held by one process until it is closed.

    Args:
        uri: a path that ends in ".db" for Milvus Lite, embedded, or "http://host:19530" of a
            cluster; see `read_address`.
        collection: the name of the collection.
        token: "user:password" or a key, for a cluster that asks for it.

    Raises:
        as `MilvusConnection`.
    """

    def __init__(
        self, uri: str = "./milvus.db", collection: str = "gallery", token: str = ""
    ) -> None:
        self.collection = collection
        self.connection = MilvusConnection(uri, token)
        self.uri, self.local = self.connection.uri, self.connection.embedded
        self._full_name, self._loaded = f"{self.uri}#{collection}", False

    def __enter__(self) -> MilvusStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None:
            self.connection.check_background()

    def close(self) -> None:
        """Close the connection, and an embedded database with it."""
        self.connection.close()

    def engine(self) -> str:
        """What answers: the name and version of the database."""
        return f"milvus {self.connection.release}"

    def exists(self) -> bool:
        """Whether the collection is there."""
        return bool(self._ask("ask for collections", "has_collection", reads=True))

    def about(self) -> dict[str, Any]:
        """What the collection says of itself: "dim", "metric", "passport", "holds" (see `mark`),
        and of newer ones "index", "dtype" and "partition".

        Raises:
            ArtefactError: it was not made by FastSeek.
        """
        told = self._ask("describe the collection", "describe_collection", reads=True)
        page = told["properties"].get("fastseek", "")
        try:
            return json.loads(page)
        except ValueError as error:
            raise ArtefactError(
                f"collection {self.collection!r} was not made by FastSeek: name another one"
            ) from error

    def create(self, dim: int, metric: str, provenance: Any, layout: Layout | None = None) -> None:
        """Make the collection; what the provenance tells of model and treatment is kept with it.

        Args:
            dim, metric, provenance: of the vectors.
            layout: what else it is.

        Raises:
            UsageError: the name cannot be one, or the database has no such index type or vectors.
        """
        check_collection(self.collection)
        layout = layout or Layout()
        client, version = self.connection.client, (() if self.local else self.connection.version)
        check_server(layout.kind, self.local, version)
        vectors = check_vector_type(layout.dtype, metric, self.local, version)
        settings = layout.kind.build_settings(dim)
        kept = provenance if layout.metadata else [key for key in KEYS if key in provenance]
        told = {
            "dim": dim,
            "metric": metric,
            "holds": "",
            "passport": {key: provenance[key] for key in kept},
            "index": str(layout.kind),
            "dtype": layout.dtype,
            "partition": layout.partition,
        }
        kinds = self.connection.pymilvus.DataType
        schema = client.create_schema(auto_id=False, enable_dynamic_field=layout.metadata)
        schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=LONGEST_ID)
        schema.add_field("vector", getattr(kinds, vectors.milvus), dim=dim)
        if layout.partition:
            schema.add_field(
                layout.partition, kinds.VARCHAR, max_length=LONGEST_TEXT, is_partition_key=True
            )
        indexed = client.prepare_index_params()
        name, space = layout.kind.name, METRICS[metric]
        indexed.add_index("vector", index_type=name, metric_type=space, params=settings)
        what = f"create the collection with index {name!r}"
        pages = {"fastseek": json.dumps(told, default=str)}
        try:
            self._ask(
                what,
                "create_collection",
                schema=schema,
                consistency_level="Strong",
                properties=pages,
            )
            self._ask(what, "create_index", index_params=indexed, sync=False)
            self._ask(what, "load_collection")
        except Exception:
            # A cluster makes the collection before it refuses the index.
            with contextlib.suppress(Exception):
                client.drop_collection(self.collection)
            raise
        self._loaded = True
        for _ in left_batches(self._full_name):
            pass  # of a collection of this name that is no more

    def drop(self) -> None:
        """Delete the collection and all that is in it."""
        self._ask("drop the collection", "drop_collection")
        self._loaded = False

    def mark(self, holds: str) -> None:
        """Note what the collection holds as a whole; `upsert` and `delete` wipe the note."""
        self.change(lambda about: {"holds": holds} if about["holds"] != holds else {})

    def change(self, decide: Callable[[dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
        """Change what the collection says of itself, while nobody else does.

        Args:
            decide: called with what it says, returns what is to be said instead, or raises; called
                once more under the lock where there is something.

        Returns:
            what it says then.
        """
        about = self.about()
        if not decide(about):
            return about
        with hold_lock(self.connection, self.collection):
            about = self.about()
            about |= decide(about)
            page = json.dumps(about, default=str)
            what = "note what the collection holds"
            self._ask(what, "alter_collection_properties", {"fastseek": page})
        return about

    def fields(self, ids: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Some fields of the images of those ids that are there; one that is missing is left out."""
        return {
            decode_id(row["id"]): {name: row[name] for name in names if row.get(name) is not None}
            for row in self._get(ids, names, "read fields")
        }

    def check(self, embeddings: Embeddings, what: str) -> None:
        """Check that embeddings are of the model and dimension of the collection.

        Raises:
            ArtefactError: they are not; says in which they differ.
        """
        self._check(embeddings, what, self.about())

    def _check(self, embeddings: Embeddings, what: str, about: Mapping[str, Any]) -> None:
        if embeddings.dim != about["dim"]:
            raise ArtefactError(
                f"{what} have {embeddings.dim} dimensions, collection {self.collection!r} has "
                f"{about['dim']}: embed both with one model"
            )
        key = first_difference(embeddings.provenance, about["passport"])
        if key:
            raise ArtefactError(
                f"{what} and collection {self.collection!r} differ in {key}: "
                f"{embeddings.provenance[key]} and {about['passport'][key]}"
            )

    def upsert(self, embeddings: Embeddings, holds: str = "") -> None:
        """Put vectors in; an id that is there gets the new vector, so that doing it twice changes
        nothing.

        They are sent some megabytes at a time, and sealed at the end of a large change. An import
        of files, as a cluster with an object store has it, is not used.

        Args:
            embeddings: what to put in.
            holds: the note for `mark`.

        Raises:
            ArtefactError: they are of another model or dimension. DataError: a vector or id cannot
                be stored.
            RunError: the database failed; what was put in stays, and doing it again is safe.
        """
        about = self.about()
        self._check(embeddings, "images", about)
        check_ids(embeddings.ids.tolist())
        self.mark(holds)
        step = max(1, min(5000, SENT // (4 * max(1, embeddings.dim))))
        starts = range(0, len(embeddings), step)
        for start in progress(starts, "storing", unit=f"x {step} images"):
            here = slice(start, start + step)
            vectors = np.asarray(embeddings.vectors[here])
            some = Embeddings(embeddings.ids[here], vectors, embeddings.provenance)
            self.put(some, None, about)
        if self.local or len(embeddings) >= FLUSHED:
            self.seal()

    def put(
        self,
        embeddings: Embeddings,
        metadata: Sequence[Mapping[str, Any]] | None,
        about: Mapping[str, Any],
    ) -> None:
        """Put some vectors in at once, which were checked.

        Args:
            embeddings: what to put in.
            metadata: further fields of every image.
            about: what the collection says of itself.
        """
        dtype = about.get("dtype", "float32")
        for here, block in blocks(embeddings, about["metric"], len(embeddings)):
            keys = map(encode_id, embeddings.ids[here].tolist())
            vectors = encode_vectors(block, dtype)
            rows = [{"id": key, "vector": one} for key, one in zip(keys, vectors, strict=True)]
            if metadata is not None:
                rows = [{**told, **row} for told, row in zip(metadata, rows, strict=True)]
            self._send(rows, about)

    def seal(self) -> None:
        """Have the index built over what was put in, and an embedded database written to its file."""
        self._ask("store vectors", "flush")

    def _send(self, rows: list[dict[str, Any]], about: Mapping[str, Any]) -> None:
        key = about.get("partition", "")
        if key:
            rows = [{**row, key: row.get(key) or ""} for row in rows]
        if key and not self.local and self.connection.version < KEYED:
            with keep_batch(self._full_name, rows):
                self._ask("store vectors", "delete", ids=[row["id"] for row in rows])
                self._ask("store vectors", "insert", rows)
        else:
            self._ask("store vectors", "upsert", rows)

    def finish_batches(self) -> None:
        """Put in what a process of this machine had deleted when it died, and not inserted."""
        for rows in left_batches(self._full_name):
            there = set(self.fields([decode_id(row["id"]) for row in rows], []))
            missing = [row for row in rows if decode_id(row["id"]) not in there]
            if missing:
                logger.warning("%s: %d images are put in again", self.collection, len(missing))
                self._ask("store vectors", "insert", missing)

    def update(self, fields: Mapping[str, Mapping[str, Any]]) -> None:
        """Give images that are there other fields; those that are not named stay.

        Args:
            fields: by id; None takes a field away.
        """
        about = self.about()
        whole = not self.local and self.connection.version < PARTIAL
        ids = list(fields)
        for start in range(0, len(ids), ROWS):
            some = ids[start : start + ROWS]
            rows = self._get(some, ["*"] if whole else ["id"], "read fields")
            names = {row["id"]: decode_id(row["id"]) for row in rows}
            if whole:
                # An old server must be told the vector again.
                made = [{**row, **fields[names[row["id"]]]} for row in rows]
                self._send([_drop_missing(row) for row in made], about)
            else:
                made = [{"id": row["id"], **fields[names[row["id"]]]} for row in rows]
                key = about.get("partition", "")
                made = [{**row, key: row[key] or ""} if key in row else row for row in made]
                self._ask("store fields", "upsert", made, partial_update=True)

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there."""
        names = list(dict.fromkeys(str(name) for name in ids))
        found = [row["id"] for row in self._get(names, ["id"], "look for images")]
        self.mark("")
        for start in range(0, len(found), ROWS):
            self._ask("delete vectors", "delete", ids=found[start : start + ROWS])
        return len(found)

    def count(self) -> int:
        """How many images the collection holds."""
        rows = self._read("count", "query", filter="", output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def indexed(self) -> int:
        """How many of the images the index was built over; the others are compared one by one."""
        told = self._ask("describe the index", "describe_index", "vector", reads=True)
        return int(told.get("indexed_rows", 0))

    def ids(self, condition: str = "") -> np.ndarray:
        """The ids of all images, or of those that fulfill an expression of Milvus, sorted."""
        found: list[str] = []
        pages = self._read(
            "list its images",
            "query_iterator",
            batch_size=ROWS,
            filter=condition,
            output_fields=["id"],
        )
        with self.connection.describe("list its images"):
            while page := pages.next():
                found += [decode_id(row["id"]) for row in page]
            pages.close()
        return np.sort(np.array(found, str))

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """The images of those ids that are there, in the order of their ids."""
        rows = self._get(ids, ["id", "vector"], "read vectors")
        found = {decode_id(row["id"]): row["vector"] for row in rows}
        names, about = sorted(found), self.about()
        made = decode_vectors([found[name] for name in names], about.get("dtype", "float32"))
        vectors = made.reshape(len(names), about["dim"])
        return Embeddings(np.array(names, str), vectors, about["passport"])

    def nearest(
        self, queries: Embeddings, k: int, condition: str = "", index: IndexType | None = None
    ) -> list[list[str]]:
        """The ids of the k nearest images of every query, as the database finds them.

        Args:
            queries: [Q].
            k: how many.
            condition: an expression of Milvus that they fulfill, "" for none.
            index: whose settings of searching are used, else those of the URI.

        Raises:
            ArtefactError: the queries are of another model or dimension.
            DataError: a query is not finite, or zero under "cosine"; names its id.
        """
        about, names = self.about(), []
        self._check(queries, "queries", about)
        index = index or read_index_type(about.get("index", "FLAT"))
        settings = index.search_with(self.connection.address.settings).search_settings(k)
        metric = about["metric"]
        # Milvus Lite makes an array of queries x images x D for "l2".
        step = 1 if self.local and metric == "l2" else 64
        for _, block in progress(blocks(queries, metric, step), "search", -(-len(queries) // step)):
            hits = self._read(
                "search",
                "search",
                data=list(encode_vectors(block, about.get("dtype", "float32"))),
                limit=k,
                filter=condition,
                output_fields=["id"],
                search_params={"params": settings},
            )
            names += [[decode_id(hit["id"]) for hit in row] for row in hits]
        return names

    def _ask(self, what: str, verb: str, *args: Any, reads: bool = False, **kwargs: Any) -> Any:
        return self.connection.call(what, verb, self.collection, *args, reads=reads, **kwargs)

    def _read(self, what: str, verb: str, **kwargs: Any) -> Any:
        """Read what is in the collection, which is loaded first."""
        if not self._loaded:
            self._load()
            self._loaded = True
        if not self.local:
            kwargs["consistency_level"] = self.connection.address.consistency
        return self._ask(what, verb, **kwargs)

    def _get(self, ids: Sequence[str], names: Sequence[str], what: str) -> list[dict[str, Any]]:
        """Some fields of the images of those ids that are there, with the id."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), ROWS):
            keys = [encode_id(str(name)) for name in ids[start : start + ROWS]]
            fields = list(dict.fromkeys(["id", *names]))
            found += self._read(what, "get", ids=keys, output_fields=fields)
        return found

    def _load(self) -> None:
        try:
            self._ask("load the collection", "load_collection", reads=True)
        except ArtefactError:
            # A process that was killed while it wrote an index left the half of it.
            if not self.local or not _milvus_lite.remove_indexes(self.uri, self.collection):
                raise
            self._ask("load the collection", "load_collection", reads=True)


def _drop_missing(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
