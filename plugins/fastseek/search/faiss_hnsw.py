"""Approximate search: a graph of near neighbors."""

from __future__ import annotations

from typing import Any

from ..registry import SEARCHERS
from ._faiss_index import FaissIndex, Options
from ._faiss_library import faiss_metric, import_faiss

NEIGHBORS = 65536  # more in a graph faiss answers with a crash


@SEARCHERS.register()
class FaissHnsw(FaissIndex):
    """Walk a graph of near neighbors towards the query (faiss IndexHNSWFlat).

    The same seed draws the same graph only where one thread builds it (OMP_NUM_THREADS=1).

    Args:
        k: how many images a query gets.
        m: neighbors of an image in the graph; memory is the vectors and 8 * m bytes an image.
        ef: images kept in sight on the walk, k at least; more find more.
        build: the same while the graph is built.
        metric: "cosine", "ip" or "l2".
        sample: queries on which the recall in the provenance is measured, at most.
        seed: of graph and sample.
        file: where the index is kept; "" for nowhere.

    Raises:
        UsageError: faiss is not installed.
        ArtefactError: queries and gallery are not of one model, or the file is damaged or of
            something else.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Malkov and Yashunin, Efficient and Robust Approximate Nearest Neighbor Search Using
        Hierarchical Navigable Small World Graphs, PAMI 2020 (arXiv 1603.09320)
    Example: faiss_hnsw(k=100, ef=200)
    """

    def __init__(
        self,
        k: int = 100,
        m: int = 32,
        ef: int = 200,
        build: int = 100,
        metric: str = "cosine",
        sample: int = 100,
        seed: int = 0,
        file: str = "",
    ) -> None:
        if not 2 <= m <= NEIGHBORS or build < 1:
            raise ValueError(f"m must be 2 to {NEIGHBORS} and build 1 or more, got {m} and {build}")
        options = Options(k, metric, 1, 0, sample, seed, file)
        super().__init__(options, {"m": m, "build": build}, {"ef": ef})

    def create_index(self, count: int, dim: int) -> Any:
        index = import_faiss().IndexHNSWFlat(dim, self.built["m"], faiss_metric(self.metric))
        index.hnsw.rng = import_faiss().RandomGenerator(self.seed)
        index.hnsw.efConstruction = self.built["build"]
        return index

    def set_options(self, index: Any) -> dict[str, int]:
        index.hnsw.efSearch = min(
            max(self.looked["ef"], self.k), index.ntotal
        )  # it takes memory for all of them
        return {**self.built, "ef": index.hnsw.efSearch}
