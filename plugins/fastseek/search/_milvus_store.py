"""A collection of vectors by id in Milvus: embedded in a file, or on a cluster, by the URI
alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from ..errors import ArtefactError, DataError, RunError, UsageError
from ..io.paths import make_folder
from ..knn.align import rows_of
from ..knn.vectors import blocks
from ..progress import progress
from ..structures import Embeddings, Ranking
from ..structures.provenance import KEYS, first_difference
from . import _milvus_lite
from ._rescoring import look_up_rows, rescore_pairs

METRICS = {
    "cosine": "IP",
    "ip": "IP",
    "l2": "L2",
}  # for "cosine" the vectors are stored with length 1
MOST = 16384  # images a query can get from Milvus
LONGEST_ID = 4096
PLAIN = "/ ._-~,+=@:()[]&!#$;"  # kept as they are in keys
ROWS = 1000  # vectors sent at once


class MilvusStore:
    """Vectors by id, and the provenance of what made them.

    Use it in a `with` block: an embedded file is held by one process until it is closed.

    Args:
        uri: a path that ends in ".db" for Milvus Lite, embedded, or "http://host:19530" of a
            cluster.
        collection: the name of the collection.
        token: "user:password" or a key, for a cluster that asks for it.

    Raises:
        UsageError: pymilvus is not installed, the URI is no such thing, or its folder cannot be
            made.
        RunError: the database does not answer, or another process holds the file.
        ArtefactError: an embedded database is damaged, or is none.
    """

    def __init__(
        self, uri: str = "./milvus.db", collection: str = "gallery", token: str = ""
    ) -> None:
        self.uri, self.collection = uri, collection
        self.local = "://" not in uri
        if self.local and not uri.endswith(".db"):
            raise UsageError(
                "uri must be a path that ends in .db, or http://host:port of a cluster, got"
                f" {uri!r}"
            )
        milvus = _import_pymilvus(self.local)
        if self.local:
            make_folder(pathlib.Path(uri).absolute().parent)
        with _describe(uri, "open the database", reads=True):
            self.client = milvus.MilvusClient(uri=uri, token=token)

    def __enter__(self) -> MilvusStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None and self.local:
            self._check_index()

    def _check_index(self) -> None:
        """Check that no index failed; the embedded engine builds them in the background, and ends
        that when it is closed.

        Raises:
            RunError: one did.
        """
        cause = _milvus_lite.take_failure("engine.collection")
        if cause is not None:
            raise RunError(
                f"Milvus at {self.uri} could not build its index ({cause}): take another index and"
                " collection"
            ) from cause

    def close(self) -> None:
        """Close the connection, and an embedded database with it."""
        self.client.close()
        if self.local:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)

    def exists(self) -> bool:
        """Whether the collection is there."""
        with _describe(self.uri, "ask for collections", reads=True):
            return self.client.has_collection(self.collection)

    def about(self) -> dict[str, Any]:
        """What the collection says of itself: "dim", "metric", "passport" and "holds" (see `mark`).

        Raises:
            ArtefactError: it was not made by FastSeek.
        """
        with _describe(self.uri, "describe the collection", reads=True):
            page = self.client.describe_collection(self.collection)["properties"].get(
                "fastseek", ""
            )
        try:
            return json.loads(page)
        except ValueError as error:
            raise ArtefactError(
                f"collection {self.collection!r} was not made by FastSeek: name another one"
            ) from error

    def create(
        self, dim: int, metric: str, provenance: Any, index: str = "FLAT", metadata: bool = False
    ) -> None:
        """Make the collection; what the provenance tells of model and treatment is kept with it.

        Args:
            dim, metric, provenance: of the vectors.
            index: a Milvus index type.
            metadata: whether images may have further fields; all of the provenance is kept then.
        """
        kept = provenance if metadata else [key for key in KEYS if key in provenance]
        told = {
            "dim": dim,
            "metric": metric,
            "holds": "",
            "passport": {key: provenance[key] for key in kept},
        }
        kinds = _import_pymilvus(self.local).DataType
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=metadata)
        schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=LONGEST_ID)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dim)
        indexed = self.client.prepare_index_params()
        indexed.add_index("vector", index_type=index, metric_type=METRICS[metric])
        with _describe(self.uri, f"create the collection with index {index!r}"):
            try:
                self.client.create_collection(
                    self.collection,
                    schema=schema,
                    index_params=indexed,
                    consistency_level="Strong",
                    properties={"fastseek": json.dumps(told, default=str)},
                )
            except Exception:
                # A cluster makes the collection before it refuses the index.
                with contextlib.suppress(Exception):
                    self.client.drop_collection(self.collection)
                raise

    def drop(self) -> None:
        """Delete the collection and all that is in it."""
        with _describe(self.uri, "drop the collection"):
            self.client.drop_collection(self.collection)

    def mark(self, holds: str) -> None:
        """Note what the collection holds as a whole; `upsert` and `delete` wipe the note."""
        with _describe(self.uri, "note what the collection holds"):
            self.client.alter_collection_properties(
                self.collection, {"fastseek": json.dumps(self.about() | {"holds": holds})}
            )

    def note(self, told: dict[str, Any]) -> None:
        """Keep more of what the collection says of itself."""
        page = json.dumps(self.about() | told, default=str)
        with _describe(self.uri, "note what the collection holds"):
            self.client.alter_collection_properties(self.collection, {"fastseek": page})

    def fields(self, ids: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Some fields of the images of those ids that are there; one that is missing is left out."""
        self._load()
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), ROWS):
            keys = [encode_id(name) for name in ids[start : start + ROWS]]
            with _describe(self.uri, "read fields"):
                rows = self.client.get(self.collection, ids=keys, output_fields=["id", *names])
            for row in rows:
                told = {name: row[name] for name in names if row.get(name) is not None}
                found[decode_id(row["id"])] = told
        return found

    def check(self, embeddings: Embeddings, what: str) -> None:
        """Check that embeddings are of the model and dimension of the collection.

        Raises:
            ArtefactError: they are not; says in which they differ.
        """
        about = self.about()
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

    def upsert(
        self,
        embeddings: Embeddings,
        holds: str = "",
        metadata: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        """Put vectors in; an id that is there gets the new vector, so that doing it twice changes
        nothing.

        Args:
            embeddings: what to put in.
            holds: the note for `mark`.
            metadata: further fields of every image, for a collection that has them.

        Raises:
            ArtefactError: they are of another model or dimension. DataError: a vector or id cannot
                be stored.
            RunError: the database failed; what was put in stays, and doing it again is safe.
        """
        self.check(embeddings, "images")
        long = [name for name in embeddings.ids.tolist() if len(encode_id(name)) > LONGEST_ID]
        if long:
            raise DataError(f"the id {long[0][:60]!r}… is longer than {LONGEST_ID} bytes")
        self.mark(holds)
        pieces = blocks(embeddings, self.about()["metric"], ROWS)
        for here, block in progress(pieces, "upsert", -(-len(embeddings) // ROWS)):
            keys = map(encode_id, embeddings.ids[here].tolist())
            rows = [{"id": key, "vector": vector} for key, vector in zip(keys, block, strict=True)]
            if metadata is not None:
                rows = [{**told, **row} for told, row in zip(metadata[here], rows, strict=True)]
            with _describe(self.uri, "store vectors"):
                self.client.upsert(self.collection, rows)
        with _describe(self.uri, "store vectors"):
            self.client.flush(self.collection)

    def delete(self, ids: Iterable[str]) -> int:
        """Take images out; returns how many of them were there."""
        before, keys = self.count(), [encode_id(str(name)) for name in ids]
        self.mark("")
        for start in range(0, len(keys), ROWS):
            with _describe(self.uri, "delete vectors"):
                self.client.delete(self.collection, ids=keys[start : start + ROWS])
        return before - self.count()

    def count(self) -> int:
        """How many images the collection holds."""
        self._load()
        with _describe(self.uri, "count"):
            return int(
                self.client.query(self.collection, filter="", output_fields=["count(*)"])[0][
                    "count(*)"
                ]
            )

    def ids(self, condition: str = "") -> np.ndarray:
        """The ids of all images, or of those that fulfill an expression of Milvus, sorted."""
        self._load()
        found: list[str] = []
        with _describe(self.uri, "list its images"):
            pages = self.client.query_iterator(
                self.collection, batch_size=ROWS, filter=condition, output_fields=["id"]
            )
            while page := pages.next():
                found += [decode_id(row["id"]) for row in page]
            pages.close()
        return np.sort(np.array(found, str))

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """The images of those ids that are there, in the order of their ids."""
        self._load()
        found: dict[str, Any] = {}
        for start in range(0, len(ids), ROWS):
            with _describe(self.uri, "read vectors"):
                rows = self.client.get(
                    self.collection,
                    ids=[encode_id(name) for name in ids[start : start + ROWS]],
                    output_fields=["id", "vector"],
                )
            found |= {decode_id(row["id"]): row["vector"] for row in rows}
        names, about = sorted(found), self.about()
        vectors = np.array([found[name] for name in names], np.float32).reshape(
            len(names), about["dim"]
        )
        return Embeddings(np.array(names, str), vectors, about["passport"])

    def _load(self) -> None:
        try:
            with _describe(self.uri, "load the collection", reads=True):
                self.client.load_collection(self.collection)
        except ArtefactError:
            # A process that was killed while it wrote an index left the half of it.
            if not self.local or not _milvus_lite.remove_indexes(self.uri, self.collection):
                raise
            with _describe(self.uri, "load the collection", reads=True):
                self.client.load_collection(self.collection)

    def nearest(self, queries: Embeddings, k: int, condition: str = "") -> list[list[str]]:
        """The ids of the k nearest images of every query, as the database finds them; of those
        that fulfill an expression of Milvus, if there is one.

        Raises:
            ArtefactError: the queries are of another model or dimension.
            DataError: a query is not finite, or zero under "cosine"; names its id.
        """
        self.check(queries, "queries")
        self._load()
        metric, names = self.about()["metric"], []
        # Milvus Lite makes an array of queries x images x D for "l2".
        step = 1 if self.local and metric == "l2" else 64
        for _, block in progress(blocks(queries, metric, step), "search", -(-len(queries) // step)):
            with _describe(self.uri, "search"):
                hits = self.client.search(
                    self.collection,
                    data=list(block),
                    limit=k,
                    filter=condition,
                    output_fields=["id"],
                )
            names += [[decode_id(hit["id"]) for hit in row] for row in hits]
        return names

    def rank(self, queries: Embeddings, k: int = 100) -> Ranking:
        """Rank what the collection holds, without a gallery at hand; scores are exact, its own
        index proposes.
        """
        names = self.nearest(queries, k) if self.count() else [[] for _ in queries.ids]
        gallery = self.vectors(sorted({name for row in names for name in row}))
        indices, scores = rescore_pairs(
            queries, gallery, look_up_rows(names, gallery.ids, k), k, self.about()["metric"]
        )
        everything = self.ids()
        whole = np.append(rows_of(gallery.ids, everything), -1)  # row -1 stays -1
        indices = whole[indices]
        provenance = {
            "search": f"milvus, collection {self.collection!r}, k={k}",
            "exact": False,
            "queries": dict(queries.provenance),
            "gallery": self.about()["passport"],
        }
        return Ranking(queries.ids, everything, indices, scores, provenance)


def encode_id(name: str) -> str:
    """An id as Milvus gets it: pymilvus writes keys into filter expressions as they are, so no
    quote may be in one.
    """
    return quote(name, safe=PLAIN, errors="surrogateescape")


def decode_id(key: str) -> str:
    """The id that `encode_id` made a key of."""
    return unquote(key, errors="surrogateescape")


def _import_pymilvus(local: bool) -> Any:
    try:
        import pymilvus

        if local:
            import milvus_lite  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{error.name} is not installed: pip install pymilvus milvus-lite, or use exact(…)"
        ) from error
    for name in ("pymilvus", "grpc._server") if local else ("pymilvus",):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # our errors tell what these would
    if local:
        _milvus_lite.listen()
    return pymilvus


@contextlib.contextmanager
def _describe(uri: str, what: str, reads: bool = False) -> Iterator[None]:
    """Failures of the database as ours; `reads` where it had but to read what is there."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as error:
        if "://" not in uri:
            raise _milvus_lite.explain(uri, what, error.message, reads) from error
        where = uri.rsplit("@", 1)[-1]
        raise RunError(
            f"Milvus at {where} could not {what}: {error.message}; what was stored is kept, the"
            " same command goes on from there"
        ) from error
