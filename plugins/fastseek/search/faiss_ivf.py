"""Approximate search: inverted lists."""

from __future__ import annotations

from typing import Any

from ..registry import SEARCHERS
from ._faiss_index import FaissIndex, Options
from ._faiss_library import faiss_metric, import_faiss


@SEARCHERS.register()
class FaissIvf(FaissIndex):
    """Search in the nearest of many clusters of the gallery (faiss IndexIVFFlat), on GPUs if faiss
    sees any.

    Args:
        k: how many images a query gets; fewer when the clusters looked into hold fewer.
        lists: clusters; 0 for four times the root of the gallery's size. Never more than the
            gallery has images.
        probes: clusters looked into; more find more.
        metric: "cosine", "ip" or "l2".
        train: vectors the clusters are learnt from, 0 for all.
        sample: queries on which the recall in the provenance is measured, at most.
        seed: of clusters, training vectors and sample.
        file: where the index is kept; "" for nowhere.

    Raises:
        UsageError: faiss is not installed.
        ArtefactError: queries and gallery are not of one model, or the file is damaged or of
            something else.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Douze et al., The Faiss Library, 2024 (arXiv 2401.08281)
    Example: faiss_ivf(k=100, probes=16)
    """

    gpu = True

    def __init__(
        self,
        k: int = 100,
        lists: int = 0,
        probes: int = 16,
        metric: str = "cosine",
        train: int = 100_000,
        sample: int = 100,
        seed: int = 0,
        file: str = "",
    ) -> None:
        options = Options(k, metric, 1, train, sample, seed, file)
        super().__init__(options, {"lists": lists}, {"probes": probes})

    def create_index(self, count: int, dim: int) -> Any:
        lists = min(
            self.built["lists"] or max(1, round(4 * count**0.5)), count, self.train or count
        )
        index = import_faiss().IndexIVFFlat(
            import_faiss().IndexFlat(dim, faiss_metric(self.metric)),
            dim,
            lists,
            faiss_metric(self.metric),
        )
        index.cp.seed, index.cp.min_points_per_centroid, index.cp.spherical = (
            self.seed,
            1,
            self.metric == "cosine",
        )
        return index

    def set_options(self, index: Any) -> dict[str, int]:
        index.nprobe = min(self.looked["probes"], index.nlist)
        return {"lists": index.nlist, "probes": index.nprobe}
