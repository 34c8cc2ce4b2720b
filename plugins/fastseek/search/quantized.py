"""Search in a gallery that is held in reduced precision."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..knn.blocked import Block
from ..knn.nearest import CodedGallery, encode_gallery, nearest_coded
from ..knn.vectors import METRICS
from ..registry import SEARCHERS
from ..structures import Embeddings, Ranking
from ._recall import measure_recall

STORED = {"bfloat16": 2, "int8": 1}  # bytes a number
FACTS = 12  # bytes an image beside


@SEARCHERS.register()
class Quantized:
    """The k best gallery images of every query, from codes of 2 or 1 bytes a number that stay in
    memory.

    The codes are made at the first search of a gallery and used again while the same `Embeddings`
    are searched. They propose, the vectors as given (which may lie on disk) are read for those
    pairs only and decide. With rescore=0 each pair is proposed that the error of its codes could
    put among the best: the answer is that of `exact`, bit by bit.

    Memory: gallery x D x 2 bytes (bfloat16) or 1 (int8), 12 bytes an image, and what `exact` needs
    beside its block.

    Args:
        k: how many images a query gets.
        storage: "bfloat16" or "int8".
        metric: "cosine", "ip" or "l2".
        rescore: 0 for the exact answer; n to score only the n * k best by code exactly, which is
            faster with int8. Then the ranking's provenance tells the recall.
        sample: queries on which that recall is measured, at most.
        seed: draws them.

    Raises:
        ArtefactError: queries and gallery are not of one model.
        DataError: a vector is not finite, or zero under "cosine"; names its id.
        UsageError: torch is not installed.

    Example: quantized(k=100, storage='int8')
    """

    not_in_call = ("sample", "seed")  # of the recall that is told

    def __init__(
        self,
        k: int = 100,
        storage: str = "bfloat16",
        metric: str = "cosine",
        rescore: int = 0,
        sample: int = 100,
        seed: int = 0,
    ) -> None:
        if k < 1 or rescore < 0 or sample < 1:
            raise ValueError(
                f"k and sample must be 1 or more, rescore 0 or more, got {k}, {sample} and"
                f" {rescore}"
            )
        if metric not in METRICS or storage not in STORED:
            raise ValueError(
                f"metric must be one of {', '.join(METRICS)}, storage one of {', '.join(STORED)}, "
                f"got {metric!r} and {storage!r}"
            )
        self.k, self.storage, self.metric, self.rescore = k, storage, metric, rescore
        self.sample, self.seed = sample, seed
        self._gallery: weakref.ref[Embeddings] | None = None
        self._codes: Block | None = None

    def code_bytes(self, dim: int) -> int:
        """Bytes of an image's code, with what is told of its error."""
        return STORED[self.storage] * dim + FACTS

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """Rank the gallery for every query."""
        coded = self._encode_once(gallery)
        found = nearest_coded(queries, coded, self.k, self.rescore)
        facts: dict[str, Any] = {
            "exact": not self.rescore,
            "engine": f"numpy {np.__version__}",
            "scan": found.scan,
        }
        if self.rescore:
            facts["recall"] = measure_recall(
                found.rows, queries, gallery, self.metric, self.sample, self.seed, coded
            )
        return Ranking(queries.ids, gallery.known_ids, found.rows, found.scores, facts)

    def _encode_once(self, gallery: Embeddings) -> CodedGallery:
        """The codes of the gallery, made when it is another one than before."""
        if self._codes is None or self._gallery is None or self._gallery() is not gallery:
            coded = encode_gallery(gallery, self.metric, self.storage)
            self._codes = coded.block
            self._gallery = weakref.ref(gallery)
        return CodedGallery(gallery, self._codes, self.storage, self.metric)
