"""Images that stand more than once: pairs that are nearly the same, and the clusters they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ..knn.graph import KnnGraph, connect_images
from ..knn.nearest import nearest
from ..progress import progress
from ..structures import Embeddings
from ..structures.arrays import FloatArray, IntArray

Answer = TypeVar("Answer", int, float)


@dataclasses.dataclass(frozen=True, eq=False)
class Copies:
    """Pairs of images that are nearly the same.

    Args:
        first, second: [P] int64 rows, of one set with first < second, or of two sets.
        scores: [P] float32, how near they are.
        inliers: [P] int64 local features that agree; -1 where nobody has looked.
        agreement: [P] float32 how well one fits into the other, see `PixelAgreement`; nan where
            nobody has looked.
    """

    first: IntArray
    second: IntArray
    scores: FloatArray
    inliers: IntArray
    agreement: FloatArray

    def __len__(self) -> int:
        return len(self.first)

    def take(self, pairs: np.ndarray) -> Copies:
        """Some of the pairs, by number or by mask."""
        return Copies(*(getattr(self, field.name)[pairs] for field in dataclasses.fields(self)))


def find_copies(graph: KnnGraph, least: float) -> Copies:
    """The pairs of one set that are joined in its kNN graph by a score from `least` on, each once."""
    found = [
        (np.minimum(one, other), np.maximum(one, other), scores)
        for one, other, scores in graph.iterate_edges(least)
    ]
    if not found:
        return _as_copies(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    first, second, scores = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((second, first))
    first, second, scores = first[order], second[order], scores[order]
    new = np.diff(first, prepend=-1) != 0
    new |= np.diff(second, prepend=-1) != 0
    return _as_copies(first[new], second[new], scores[new])


def find_leaks(queries: Embeddings, gallery: Embeddings, k: int, least: float) -> Copies:
    """The pairs (query, one of its k nearest gallery images) with a cosine from `least` on.

    Raises:
        DataError: a vector has no cosine; names its id.
    """
    found = nearest(queries, gallery, k, "cosine", lowest=False)
    row, rank = np.nonzero(found.scores >= least)
    return _as_copies(row, found.rows[row, rank], found.scores[row, rank])


def select_across(copies: Copies, splits: np.ndarray) -> Copies:
    """The pairs whose images are of different splits [N]; "" is none."""
    one, other = splits[copies.first], splits[copies.second]
    return copies.take((one != other) & (one != "") & (other != ""))


def check_copies(copies: Copies, agree: Callable[[int, int], int], least: int) -> Copies:
    """The pairs of which at least so many local features agree.

    Args:
        copies: pairs.
        agree: called with first and second, counts them.
        least: how many.
    """
    inliers = np.array(_look(copies, agree), np.int64)
    return dataclasses.replace(copies, inliers=inliers).take(inliers >= least)


def compare_copies(copies: Copies, agree: Callable[[int, int], float], least: float) -> Copies:
    """The pairs of which one image fits into the other at least so well.

    Args:
        copies: pairs.
        agree: called with first and second, such as a `PixelAgreement`.
        least: correlation.
    """
    agreement = np.array(_look(copies, agree), np.float32)
    return dataclasses.replace(copies, agreement=agreement).take(agreement >= least)


def _look(copies: Copies, agree: Callable[[int, int], Answer]) -> list[Answer]:
    pairs = zip(copies.first.tolist(), copies.second.tolist(), strict=True)
    return [agree(*pair) for pair in progress(pairs, "verification", len(copies))]


def cluster_copies(copies: Copies, count: int) -> list[IntArray]:
    """The images of every cluster of two and more, rising, the largest cluster first.

    Args:
        copies: pairs of one set.
        count: images of the set.
    """
    group = connect_images(count, [(copies.first, copies.second)])
    order = np.argsort(group, kind="stable")
    edges = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    lengths = np.diff(edges)
    several = np.flatnonzero(lengths > 1)
    starts = edges[several]
    found = [
        order[start : start + length]
        for start, length in zip(starts.tolist(), lengths[several].tolist(), strict=True)
    ]
    return sorted(found, key=lambda cluster: (-len(cluster), int(cluster[0])))


def find_partners(copies: Copies, count: int) -> tuple[IntArray, IntArray]:
    """Of every image [count] its nearest partner, -1 for none, and the number of that pair."""
    ends = np.concatenate([copies.first, copies.second])
    others = np.concatenate([copies.second, copies.first])
    pairs = np.tile(np.arange(len(copies)), 2)
    order = np.lexsort((others, -copies.scores[pairs], ends))
    firsts = order[np.diff(ends[order], prepend=-1) != 0]
    partner, number = np.full(count, -1), np.full(count, -1)
    partner[ends[firsts]], number[ends[firsts]] = others[firsts], pairs[firsts]
    return partner, number


def _as_copies(first: IntArray, second: IntArray, scores: FloatArray) -> Copies:
    nobody = np.full(len(first), np.nan, np.float32)
    return Copies(first, second, scores, np.full(len(first), -1), nobody)
