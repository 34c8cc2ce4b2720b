"""Approximate search: inverted lists of a few bits a number, on disk."""

from __future__ import annotations

from typing import Any

from ..registry import SEARCHERS
from ._faiss_index import Options
from ._faiss_library import faiss_metric, require_rabitq
from ._faiss_lists import count_lists, make_rabitq
from ._faiss_on_disk import FaissOnDisk


@SEARCHERS.register()
class FaissIvfRabitq(FaissOnDisk):
    """Search in lists of codes of a few bits a number that stay on disk, and score the best by
    their vectors (faiss IndexIVFRaBitQ).

    As few lists are looked into, and as few images scored, as reach the recall on stored images.
    The lists are built a part at a time, in memory for one part and 20 bytes an image. A file is
    used again for the same gallery, brought up to date when up to a third has changed, else built
    anew; a build that was killed goes on.

    Args:
        k: how many images a query gets.
        bits: a number, 1 to 9; a code takes D * bits / 8 bytes, and 8 to 20 more.
        recall: the share of the k nearest that is to be found.
        metric: "cosine", "ip" or "l2".
        train: vectors the lists are learnt from, 0 for 64 a list.
        sample: queries on which the recall in the provenance is measured, which compares them with
            all of the gallery; 0 to tell that of stored images.
        seed: of lists, training vectors and samples.
        file: where the index is kept; a folder keeps one for every gallery, as the runs of
            `sharded` are; "" for a temporary file.

    Raises:
        UsageError: faiss is not installed, or is too old.
        ArtefactError: queries and gallery are not of one model, or the file is damaged or of
            another index.
        RunError: another process is building the file.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Gao and Long, RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound
        for Approximate Nearest Neighbor Search, SIGMOD 2024 (arXiv 2405.12497)
    Example: faiss_ivf_rabitq(k=100, recall=0.95)
    """

    def __init__(
        self,
        k: int = 100,
        bits: int = 2,
        recall: float = 0.95,
        metric: str = "cosine",
        train: int = 0,
        sample: int = 0,
        seed: int = 0,
        file: str = "",
    ) -> None:
        if not 1 <= bits <= 9:
            raise ValueError(f"bits must be 1 to 9, got {bits}")
        require_rabitq("faiss_ivf_pq")
        super().__init__(Options(k, metric, 1, train, sample, seed, file), {"bits": bits}, recall)

    def create_index(self, count: int, dim: int) -> Any:
        """An index for `count` vectors of `dim` numbers, not trained."""
        lists = count_lists(count, self.train)
        kind = faiss_metric(self.metric)
        return make_rabitq(dim, lists, kind, self.built["bits"], self.seed)
