"""Approximate search: RaBitQ codes in memory, re-scored."""

from __future__ import annotations

from typing import Any

from ..registry import SEARCHERS
from ._faiss_index import FaissIndex, Options
from ._faiss_library import faiss_metric, import_faiss, require_rabitq

MOST_BITS = 9


@SEARCHERS.register()
class FaissRabitq(FaissIndex):
    """Compare randomly rotated vectors of a few bits a number, then score the best of them exactly
    (faiss IndexRaBitQ).

    Args:
        k: how many images a query gets.
        bits: of a number in a code, 1 to 9; a code also holds a few numbers of its own.
        refine: refine * k images are scored exactly; more find more.
        metric: "cosine", "ip" or "l2".
        sample: queries on which the recall in the provenance is measured, at most.
        seed: of the rotation and the sample.
        file: where the index is kept; "" for nowhere.

    Raises:
        UsageError: faiss is not installed, or older than 1.13.2.
        ArtefactError: queries and gallery are not of one model, or the file is damaged or of
            something else.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Gao and Long, RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error
        Bound, SIGMOD 2024 (arXiv 2405.12497)
    Example: faiss_rabitq(k=100, bits=1)
    """

    def __init__(
        self,
        k: int = 100,
        bits: int = 1,
        refine: int = 4,
        metric: str = "cosine",
        sample: int = 100,
        seed: int = 0,
        file: str = "",
    ) -> None:
        if not 1 <= bits <= MOST_BITS:
            raise ValueError(f"bits must be 1 to {MOST_BITS}, got {bits}")
        super().__init__(Options(k, metric, refine, 0, sample, seed, file), {"bits": bits}, {})

    def code_bytes(self, dim: int) -> int:
        """Bytes of an image's code."""
        return int(self._quantizer(dim).code_size)

    def create_index(self, count: int, dim: int) -> Any:
        faiss = import_faiss()
        rotation = faiss.RandomRotationMatrix(dim, dim)
        rotation.init(self.seed)
        index = faiss.IndexPreTransform(rotation, self._quantizer(dim))
        return index

    def set_options(self, index: Any) -> dict[str, int]:
        return {"bits": self.built["bits"], "refine": self.refine}

    def _quantizer(self, dim: int) -> Any:
        require_rabitq("faiss_pq(…)")
        return import_faiss().IndexRaBitQ(dim, faiss_metric(self.metric), self.built["bits"])
