"""Search in a database."""

from __future__ import annotations

import numpy as np

from ..errors import ArtefactError
from ..knn.vectors import METRICS
from ..registry import SEARCHERS
from ..structures import Embeddings, Ranking
from ..structures.arrays import Picked
from ._milvus_connection import read_address
from ._milvus_store import MOST, Layout, MilvusStore
from ._milvus_types import check_server, read_index_type
from ._milvus_vectors import VECTORS
from ._recall import measure_recall
from ._rescoring import look_up_rows, rescore_pairs
from .sharded import fingerprint


@SEARCHERS.register()
class Milvus:
    """The k best gallery images of every query by Milvus, embedded in a file or on a cluster.

    The first search puts the gallery into the collection; later ones use it as it is there. One
    that was stopped goes on where it was. A collection that holds anything else is refused. Milvus
    proposes refine * k images, their exact scores order them, k are kept; the provenance tells the
    recall. `MilvusIndex` upserts, deletes and ranks by id, without a gallery at hand.

    Args:
        k: how many images a query gets.
        uri: a path that ends in ".db" for Milvus Lite, embedded, or "http://host:19530" of a
            cluster; "?consistency=bounded" behind it reads what is known a moment before.
        collection: its name.
        metric: "cosine", "ip" or "l2".
        index: a Milvus index type, and what it is built and searched with: "FLAT" compares with
            every image, "HNSW(M=16, ef=100)", "IVF_FLAT(nlist=1024, nprobe=64)" and others do not;
            an embedded database has AUTOINDEX, FLAT, HNSW, HNSW_SQ, IVF_FLAT and IVF_SQ8.
        refine: how many images are proposed for one that is kept.
        replace: whether a collection of that name that holds something else is dropped first.
        token: "user:password" or a key of a cluster.
        sample: queries on which the recall is measured, at most.
        seed: draws them.
        dtype: of the stored vectors: "float32", or where the server has them "float16", "bfloat16"
            or, for "cosine", "int8".

    Raises:
        UsageError: pymilvus is not installed, the URI is no such thing, or the database has no such
            index or vectors.
        ArtefactError: queries, gallery and collection are not of one model, the collection holds
            something else, or the database is damaged.
        DataError: a vector is not finite, or zero under "cosine"; names its id.
        RunError: the database failed; the same command goes on from there.

    Source: Wang et al., Milvus: A Purpose-Built Vector Data Management System, SIGMOD 2021
    Example: milvus(k=100, uri='gallery.db')
    """

    # An answer does not depend on where the database is, and a key is nobody else's business.
    not_in_call = ("uri", "replace", "token", "sample", "seed")

    def __init__(
        self,
        k: int = 100,
        uri: str = "./milvus.db",
        collection: str = "gallery",
        metric: str = "cosine",
        index: str = "FLAT",
        refine: int = 1,
        replace: bool = False,
        token: str = "",
        sample: int = 100,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        if min(k, refine, sample) < 1 or k * refine > MOST:
            raise ValueError(
                f"k, refine and sample must be 1 or more and k * refine {MOST} at most, got {k},"
                f" {refine} and {sample}"
            )
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        if dtype not in VECTORS:
            raise ValueError(f"dtype must be one of {', '.join(VECTORS)}, got {dtype!r}")
        self.kind = read_index_type(index)
        if read_address(uri).embedded:
            check_server(self.kind, embedded=True, version=())
        self.k, self.uri, self.collection, self.metric = k, uri, collection, metric
        self.index, self.refine, self.replace, self.token = index, refine, replace, token
        self.sample, self.seed, self.dtype = sample, seed, dtype

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """Rank the gallery for every query."""
        depth = min(len(gallery), self.k * self.refine)
        with MilvusStore(self.uri, self.collection, self.token) as store:
            self._fill(store, gallery)
            names: list[list[str]] = [[] for _ in queries.ids]
            if depth:
                names = store.nearest(queries, depth, index=self.kind)
            engine = store.engine()
        indices, scores = rescore_pairs(
            queries, gallery, look_up_rows(names, gallery.ids, depth), self.k, self.metric
        )
        facts = {
            "exact": False,
            "engine": engine,
            "recall": measure_recall(
                indices, queries, gallery, self.metric, self.sample, self.seed
            ),
        }
        return Ranking(queries.ids, gallery.ids, indices, scores, facts)

    def _fill(self, store: MilvusStore, gallery: Embeddings) -> None:
        """See to it that the collection holds this gallery; what an earlier search put in stays."""
        whole = f"{self.kind.built} {self.metric} {fingerprint(gallery)}"
        whole += "" if self.dtype == "float32" else f" {self.dtype}"
        holds = store.about()["holds"] if store.exists() else None
        if holds == whole:
            store.check(gallery, "the gallery")
            return
        if holds not in (None, f"part of {whole}"):
            if not self.replace and store.count():
                raise ArtefactError(
                    f"collection {self.collection!r} holds another gallery, or was changed since:"
                    " name another collection, or say replace=True"
                )
            store.drop()
            holds = None
        if holds is None:
            layout = Layout(self.kind, self.dtype)
            store.create(gallery.dim, self.metric, gallery.provenance, layout)
        missing = np.flatnonzero(~np.isin(gallery.ids, store.ids()))
        store.upsert(
            Embeddings(gallery.ids[missing], Picked(gallery.vectors, missing), gallery.provenance),
            f"part of {whole}",
        )
        store.mark(whole)
