"""Approximate search: inverted lists of product-quantized codes, on disk."""

from __future__ import annotations

from typing import Any

from ..registry import SEARCHERS
from ._faiss_index import Options
from ._faiss_library import count_bits, count_parts, faiss_metric, import_faiss
from ._faiss_lists import count_lists
from ._faiss_on_disk import FaissOnDisk


@SEARCHERS.register()
class FaissIvfPq(FaissOnDisk):
    """Search in lists of product-quantized codes that stay on disk, and score the best by their
    vectors (faiss IndexIVFPQ), on GPUs if faiss sees any.

    As few lists are looked into, and as few images scored, as reach the recall on stored images.
    The lists are built a part at a time, in memory for one part and 20 bytes an image. A file is
    used again for the same gallery, brought up to date when up to a third has changed, else built
    anew; a build that was killed goes on.

    Args:
        k: how many images a query gets.
        bytes_: of a code; the largest divisor of the dimension that is not above is taken.
        recall: the share of the k nearest that is to be found.
        metric: "cosine", "ip" or "l2".
        train: vectors that lists and codes are learnt from, 0 for 64 a list and 20,000 at least.
        sample: queries on which the recall in the provenance is measured, which compares them with
            all of the gallery; 0 to tell that of stored images.
        seed: of lists, codes, training vectors and samples.
        file: where the index is kept; a folder keeps one for every gallery, as the runs of
            `sharded` are; "" for a temporary file.

    Raises:
        UsageError: faiss is not installed.
        ArtefactError: queries and gallery are not of one model, or the file is damaged or of
            another index.
        RunError: another process is building the file.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Jégou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, PAMI 2011
    Example: faiss_ivf_pq(k=100, bytes_=32)
    """

    gpu = True

    def __init__(
        self,
        k: int = 100,
        bytes_: int = 32,
        recall: float = 0.95,
        metric: str = "cosine",
        train: int = 0,
        sample: int = 0,
        seed: int = 0,
        file: str = "",
    ) -> None:
        if bytes_ < 1:
            raise ValueError(f"bytes_ must be 1 or more, got {bytes_}")
        options = Options(k, metric, 1, train, sample, seed, file)
        super().__init__(options, {"bytes_": bytes_}, recall)

    def create_index(self, count: int, dim: int) -> Any:
        """An index for `count` vectors of `dim` numbers, not trained."""
        faiss, kind = import_faiss(), faiss_metric(self.metric)
        parts, bits = count_parts(dim, self.built["bytes_"]), count_bits(count, self.train)
        lists = count_lists(count, self.train)
        index = faiss.IndexIVFPQ(faiss.IndexFlat(dim, kind), dim, lists, parts, bits, kind)
        index.pq.cp.seed, index.pq.cp.min_points_per_centroid = self.seed, 1
        return index
