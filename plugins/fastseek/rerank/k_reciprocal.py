"""k-reciprocal re-ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ..knn.nearest import nearest, pair_scores, similarities
from ..knn.vectors import stack_sides
from ..progress import progress
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import sort_anew
from ._k_reciprocal_encoding import RULES, average_neighbors, encode, put_self_first
from ._memory_plan import Budget, tell_costs
from ._sparse_jaccard import Overlaps, iterate_overlaps

CELLS = 1 << 21  # distances held at once
ENTRIES = 1 << 21  # entries of averaged encodings held at once
HELD_BYTES = 12  # of an averaged encoding while it is made, an entry
FEW = 8  # lists shorter than this part of the gallery are scored pair by pair


class Encoded(NamedTuple):
    """Queries, then gallery, of unit length for "cosine"; their neighbors [N, K], itself first;
    their encodings [N, N] before they are averaged; the squared distance of the farthest image [N];
    and how many bytes may still be taken.
    """

    vectors: np.ndarray
    neighbors: np.ndarray
    raw: csr_array
    longest: np.ndarray
    room: float


@RERANKERS.register()
class KReciprocal:
    """Re-rank by how far the k-reciprocal neighborhoods of query and image overlap (Zhong et al.,
    CVPR 2017).

    final = (1 - lambda) * Jaccard distance of the encoded neighborhoods + lambda * squared
    distance divided by the query's largest, over queries and gallery together; the new score is
    minus that. Neighbors come from an exact search; memory grows with N = queries + gallery and
    never with N * N. The distance is Euclidean, "cosine" between vectors of unit length, "l2"
    between vectors as they are. Equal distances stand in the order of the ids. Long work tells on
    stderr beforehand how long it will take.

    `max_ram` is a promise: arrays of its own never take more, beside the embeddings and the ranking
    that were given. If that cannot be, it stops before it starts; if it can be for most images and
    not for these, as soon as it knows.

    Args:
        k1: size of the neighborhoods.
        k2: how many neighbors' encodings are averaged; 1 for none.
        lambda_: weight of the original distance, 0 to 1.
        metric: "cosine" or "l2".
        variant: "paper", or "digix" for the rule of the second place of DIGIX 2020 (with k1=25,
            k2=6, lambda_=0.5 there): lists of k1 count the image itself, and two fifths of an
            overlap are enough instead of two thirds.
        max_ram: gigabytes (10^9 bytes); no promise when None.

    Raises:
        ArtefactError: the ranking is not over these queries and this gallery.
        DataError: a vector is not finite, or zero under "cosine"; names its id.
        RunError: it takes more than `max_ram`.

    Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017
        (arXiv 1701.08398)
    Example: k_reciprocal(k1=20, k2=6, lambda_=0.3)
    """

    not_in_call = ("max_ram",)

    def __init__(
        self,
        k1: int = 20,
        k2: int = 6,
        lambda_: float = 0.3,
        metric: str = "cosine",
        variant: str = "paper",
        max_ram: float | None = None,
    ) -> None:
        if k1 < 1 or k2 < 1 or not 0 <= lambda_ <= 1:
            raise ValueError(
                f"k1 and k2 must be 1 or more and lambda_ in 0..1, got {k1}, {k2} and {lambda_}"
            )
        if metric not in ("cosine", "l2"):
            raise ValueError(f"metric must be cosine or l2, got {metric!r}")
        if variant not in RULES or max_ram is not None and max_ram <= 0:
            raise ValueError(
                f"variant must be one of {', '.join(RULES)} and max_ram more than 0, got"
                f" {variant!r} and {max_ram}"
            )
        self.k1, self.k2, self.lambda_, self.metric = k1, k2, lambda_, metric
        self.variant, self.max_ram = variant, max_ram

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        scores = np.zeros_like(ranking.scores)
        if scores.size and FEW * ranking.indices.shape[1] < len(gallery):
            self._fill(
                scores.reshape(-1),
                ranking.indices.reshape(-1),
                self._encode_both(queries, gallery, False),
                len(queries),
                ranking.indices.shape[1],
            )
        elif scores.size:
            for here, every in self._score_all(queries, gallery):
                scores[here] = np.take_along_axis(
                    every, np.maximum(ranking.indices[here], 0), axis=1
                )
        return sort_anew(ranking, scores)

    def matrix(self, queries: Embeddings, gallery: Embeddings) -> np.ndarray:
        """Scores [Q, G] float32 of every gallery image, larger is better."""
        scores = np.empty((len(queries), len(gallery)), np.float32)
        for _ in self._score_all(queries, gallery, scores) if scores.size else ():
            pass
        return scores

    @property
    def _pairs(self) -> str:
        """How vectors are compared once they have unit length for "cosine"."""
        return "ip" if self.metric == "cosine" else "l2"

    def _encode_both(self, queries: Embeddings, gallery: Embeddings, every: bool) -> Encoded:
        images = len(queries) + len(gallery)
        budget = Budget.plan(images, gallery.dim, self.k1, self.k2, every, self.max_ram)
        most = budget.entries(self.max_ram)
        both = stack_sides(queries, gallery, self.metric)
        tell_costs(both, self._pairs, budget)
        found = nearest(both, both, budget.width, self._pairs, budget.rows)
        longest = _squared_distances(found.lowest, self._pairs)
        longest[longest == 0] = 1  # all points are one: every distance is 0

        vectors = np.asarray(both.vectors)

        def scale_distances(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
            scores = pair_scores(vectors, vectors, rows, cols, self._pairs, np.float32)
            return _squared_distances(scores, self._pairs) / longest[rows]

        neighbors = found.rows.astype(np.int32)
        del found
        neighbors = put_self_first(neighbors)
        raw = encode(neighbors, self.k1, 1, scale_distances, RULES[self.variant], most)
        return Encoded(
            vectors, neighbors, raw, longest, budget.room(raw.nnz / max(1, images), self.max_ram)
        )

    def _fill(
        self, scores: np.ndarray, indices: np.ndarray, known: Encoded, queries: int, depth: int
    ) -> None:
        """Fill scores [Q * K] for the answers [Q * K], a run of pairs at a time."""
        images, entries = len(known.neighbors), known.raw.nnz * self.k2
        held = self._average(known) if HELD_BYTES * entries < known.room else None
        step = max(1, int(ENTRIES * images // max(1, entries)))
        overlaps, pairs = Overlaps(images), np.flatnonzero(indices >= 0)
        for start in progress(range(0, len(pairs), step), "re-ranking"):
            here = pairs[start : start + step]
            asked, found = here // depth, indices[here] + queries
            shared = self._overlap_pairs(overlaps, known, held, asked, found)
            near = _squared_distances(
                pair_scores(known.vectors, known.vectors, asked, found, self._pairs), self._pairs
            )
            near *= self.lambda_ / known.longest[asked]
            scores[here] = -(near + (1 - self.lambda_) * (1 - shared / (2 - shared)))

    def _average(self, known: Encoded, rows: np.ndarray | None = None) -> csr_array:
        """The averaged encodings of all images, or of some."""
        return average_neighbors(known.raw, known.neighbors, self.k2, rows)

    def _overlap_pairs(
        self,
        overlaps: Overlaps,
        known: Encoded,
        held: csr_array | None,
        asked: np.ndarray,
        found: np.ndarray,
    ) -> np.ndarray:
        """How much the encodings of pairs [n] have in common.

        Args:
            overlaps: what adds them up.
            known: the encodings before they are averaged.
            held: all averaged encodings; where there is no room for them, those of the images that
                are named are made here.
            asked: [n] queries, rising.
            found: [n] images.
        """
        if held is None:
            some, rows = np.unique(found, return_inverse=True)
            theirs = self._average(known, some)
        else:
            theirs, rows = held, found
        run = np.arange(int(asked[0]), int(asked[-1]) + 1)
        mine = self._average(known, run)
        ends = np.searchsorted(asked, np.append(run, run[-1] + 1))
        return np.concatenate(
            [
                overlaps.add_up(mine, row, theirs, rows[ends[row] : ends[row + 1]])
                for row in range(len(run))
            ]
        )

    def _score_all(
        self, queries: Embeddings, gallery: Embeddings, out: np.ndarray | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (queries, scores [b, G] float32 of every gallery image), within `out` [Q, G] if
        given.
        """
        known, count = self._encode_both(queries, gallery, True), len(queries)
        mine, theirs, longest = known.vectors[:count], known.vectors[count:], known.longest
        averaged = self._average(known)
        del known  # only the averaged encodings are needed, and memory is promised
        asked, inverted = averaged[:count], averaged[count:].T.tocsr()
        del averaged
        first = _find_first_equal(theirs)
        twins = (first != np.arange(len(first))).any()
        step = max(1, CELLS // len(gallery))
        whole = out is not None
        held = out if out is not None else np.empty((min(step, count), len(theirs)), np.float32)
        for start in progress(range(0, count, step), "re-ranking"):
            here = slice(start, min(start + step, count))
            scores = held[here] if whole else held[: here.stop - here.start]
            similarities(mine[here], theirs, self._pairs, scores)
            if twins:
                scores[:] = scores[:, first]
            _squared_distances(scores, self._pairs)
            scores *= -self.lambda_ / longest[here, None]
            for rows, shared in iterate_overlaps(asked[here], inverted):
                scores[rows] -= (1 - self.lambda_) * (1 - shared / (2 - shared))
            yield here, scores


def _squared_distances(scores: np.ndarray, metric: str) -> np.ndarray:
    """Squared distances, in place, from scores; of unit vectors when the score is their inner
    product.
    """
    if metric == "ip":
        scores *= -2
        scores += 2
        return np.maximum(scores, 0, out=scores)
    return np.negative(scores, out=scores)


def _find_first_equal(vectors: np.ndarray) -> np.ndarray:
    """For every row the first row with the same values: a matrix product may tell equal vectors
    apart, ids must not.
    """
    bits = (np.ascontiguousarray(vectors) + np.float32(0)).view(np.uint32)
    sums = np.vecdot(bits, np.random.default_rng(0).integers(1, 1 << 32, bits.shape[1], np.uint32))
    first = np.arange(len(vectors))
    _, group, counts = np.unique(sums, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(
        counts[group] > 1
    )  # rows that may be equal: most have a sum of their own
    _, where, group = np.unique(bits[alike], axis=0, return_index=True, return_inverse=True)
    first[alike] = alike[where[group.reshape(-1)]]
    return first
