"""Search in a gallery that is held as one bit a number."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np

from ..knn.signs import nearest_by_signs, pack_signs
from ..knn.vectors import METRICS, blocks
from ..registry import SEARCHERS
from ..structures import Embeddings, Ranking
from ..structures.embeddings import slice_embeddings
from ._recall import measure_recall
from ._rescoring import rescore_pairs

ROWS = 16384  # vectors coded at once
QUERIES = 256  # compared at once
BITS = 8  # of a byte


class _Codes(NamedTuple):
    """The signs of a gallery, and what its vectors are counted from and turned by before."""

    words: np.ndarray
    middle: np.ndarray
    turn: np.ndarray | None


@SEARCHERS.register()
class Binary:
    """The k best gallery images of every query, proposed by the signs of their numbers.

    An image's code is one bit a number: whether it is above the gallery's mean. The images whose
    codes differ in the fewest bits from the query's are proposed, and their vectors as given (which
    may lie on disk) decide. `rotate` turns all vectors by one random rotation first, which helps
    where few numbers carry most of the variance.

    Memory: D / 8 bytes an image, rounded up to 8.

    Args:
        k: how many images a query gets.
        rescore: rescore * k images are scored exactly.
        rotate: whether vectors are turned before.
        metric: "cosine", "ip" or "l2", of the exact scores.
        sample: queries on which the recall in the provenance is measured, at most.
        seed: of the rotation and the sample.

    Raises:
        ArtefactError: queries and gallery are not of one model.
        DataError: a vector is not finite, or zero under "cosine"; names its id.

    Source: Charikar, Similarity Estimation Techniques from Rounding Algorithms, STOC 2002
    Example: binary(k=100, rescore=4)
    """

    not_in_call = ("sample",)

    def __init__(
        self,
        k: int = 100,
        rescore: int = 4,
        rotate: bool = False,
        metric: str = "cosine",
        sample: int = 100,
        seed: int = 0,
    ) -> None:
        if min(k, rescore, sample) < 1 or seed < 0:
            raise ValueError(
                f"k, rescore and sample must be 1 or more and seed 0 or more, got {k}, {rescore},"
                f" {sample} and {seed}"
            )
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        self.k, self.rescore, self.rotate, self.metric = k, rescore, rotate, metric
        self.sample, self.seed = sample, seed
        self._last: tuple[weakref.ref[Embeddings], _Codes] | None = None

    def code_bytes(self, dim: int) -> int:
        """Bytes of an image's code."""
        return -(-dim // 64) * 8

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """Rank the gallery for every query."""
        shape = len(queries), min(self.k, len(gallery))
        indices, scores = np.empty(shape, np.int64), np.empty(shape, np.float32)
        codes = self._encode_once(gallery)
        for start in range(0, len(queries) if len(gallery) else 0, QUERIES):
            here = slice(start, start + QUERIES)
            some = slice_embeddings(queries, start, start + QUERIES)
            proposed = nearest_by_signs(
                self._encode(some, codes), codes.words, self.k * self.rescore
            )
            indices[here], scores[here] = rescore_pairs(
                some, gallery, proposed, self.k, self.metric
            )
        recall = measure_recall(indices, queries, gallery, self.metric, self.sample, self.seed)
        facts: dict[str, Any] = {
            "exact": False,
            "engine": f"numpy {np.__version__}",
            "scan": "signs",
            "recall": recall,
        }
        return Ranking(queries.ids, gallery.known_ids, indices, scores, facts)

    def _encode_once(self, gallery: Embeddings) -> _Codes:
        """The codes of the gallery, made when it is another one than before."""
        if self._last is None or self._last[0]() is not gallery:
            turn = _make_rotation(gallery.dim, self.seed) if self.rotate else None
            codes = _Codes(np.empty((0, 0), np.uint64), self._find_middle(gallery), turn)
            codes = codes._replace(words=self._encode(gallery, codes))
            self._last = weakref.ref(gallery), codes
        return self._last[1]

    def _find_middle(self, gallery: Embeddings) -> np.ndarray:
        total = np.zeros(gallery.dim)
        for _, block in blocks(gallery, self.metric, ROWS):
            total += block.sum(axis=0, dtype=np.float64)
        return (total / max(1, len(gallery))).astype(np.float32)

    def _encode(self, side: Embeddings, codes: _Codes) -> np.ndarray:
        words = np.empty((len(side), self.code_bytes(side.dim) // BITS), np.uint64)
        for here, block in blocks(side, self.metric, ROWS):
            moved = block - codes.middle
            words[here] = pack_signs(moved if codes.turn is None else moved @ codes.turn)
        return words


def _make_rotation(dim: int, seed: int) -> np.ndarray:
    """A random orthogonal matrix [D, D], float32."""
    drawn = np.random.default_rng(seed).standard_normal((dim, dim))
    turn, upper = np.linalg.qr(drawn)
    turned: np.ndarray = (turn * np.sign(np.diag(upper))).astype(np.float32)
    return turned
