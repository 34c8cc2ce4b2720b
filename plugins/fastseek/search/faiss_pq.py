"""Approximate search: product-quantised codes, re-scored."""

from __future__ import annotations

from typing import Any

from ..registry import SEARCHERS
from ._faiss_index import FaissIndex, Options
from ._faiss_library import count_bits, count_parts, faiss_metric, import_faiss


@SEARCHERS.register()
class FaissPq(FaissIndex):
    """Compare codes of some bytes an image, then score the best of them exactly (faiss IndexPQ).

    Args:
        k: how many images a query gets.
        bytes_: of a code; the largest divisor of the dimension that is not above is taken.
        refine: refine * k images are scored exactly; more find more.
        metric: "cosine", "ip" or "l2".
        train: vectors the codes are learnt from, 0 for all. Fewer than 256 make codes of fewer
            bits.
        sample: queries on which the recall in the provenance is measured, at most.
        seed: of codes, training vectors and sample.
        file: where the index is kept; "" for nowhere.

    Raises:
        UsageError: faiss is not installed.
        ArtefactError: queries and gallery are not of one model, or the file is damaged or of
            something else.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Jégou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, PAMI 2011
    Example: faiss_pq(k=100, bytes_=64)
    """

    def __init__(
        self,
        k: int = 100,
        bytes_: int = 64,
        refine: int = 10,
        metric: str = "cosine",
        train: int = 100_000,
        sample: int = 100,
        seed: int = 0,
        file: str = "",
    ) -> None:
        if bytes_ < 1:
            raise ValueError(f"bytes_ must be 1 or more, got {bytes_}")
        options = Options(k, metric, refine, train, sample, seed, file)
        super().__init__(options, {"bytes_": bytes_}, {})

    def code_bytes(self, dim: int) -> int:
        """Bytes of an image's code."""
        return count_parts(dim, self.built["bytes_"])

    def create_index(self, count: int, dim: int) -> Any:
        parts, bits = count_parts(dim, self.built["bytes_"]), count_bits(count, self.train)
        index = import_faiss().IndexPQ(dim, parts, bits, faiss_metric(self.metric))
        index.pq.cp.seed, index.pq.cp.min_points_per_centroid = self.seed, 1
        return index

    def set_options(self, index: Any) -> dict[str, int]:
        return {"parts": index.pq.M, "bits": index.pq.nbits, "refine": self.refine}
