"""Mutual nearest local features that agree on where the object lies."""

from __future__ import annotations

import itertools

import numpy as np

from ..errors import UsageError
from ..registry import RERANKERS
from ..structures.local_embeddings import Tokens
from ._locals import LocalReranker
from .chamfer import pair_cosines

CHECKS = {"none": 0, "similarity": 2, "affine": 3}  # matches that give a transform
TRIALS = 512  # transforms tried of a pair of images
MOST_ZOOM = 8.0  # an object is at most so many times as large in one image as in the other


@RERANKERS.register()
class MutualMatches(LocalReranker):
    """Score an image by the mutual nearest neighbors among its local features and the query's that
    lie as one transform of the plane puts them.

    A pair (i, j) matches where j is the token of the image most like token i of the query and i the
    one most like j. Two matches give a similarity transform of places, three an affine one; of at
    most 512 such transforms, in a fixed order, that one counts whose inliers (matches that it puts
    at most `tolerance` from their place) have the largest sum of cosines. The score is that sum
    divided by the number of the image's tokens. Images beyond the `depth` best stay behind in their
    old order. Memory: the tokens of 64 images.

    Args:
        locals: folder of the gallery's local features, as `fastseek embed --locals` writes it.
        query_locals: that of the queries'; "" where the first one has both.
        depth: how many of the best images are re-ranked.
        check: "similarity", "affine", or "none" for all matches.
        tolerance: distance in the image that is still an inlier; 1 is the image's side.
        least: cosine that a match has at least.
        beta: how much of the old score is added to the new one.

    Raises:
        ArtefactError: the local features are of another model or other images.

    Source: Fischler and Bolles, Random Sample Consensus, CACM 1981 (the check); Noh et al.,
        Large-Scale Image Retrieval with Attentive Deep Local Features, ICCV 2017 (arXiv 1612.06321)
        (re-ranking by inliers)
    Example: mutual_matches('gallery/locals', 'queries/locals', check='affine')
    """

    def __init__(
        self,
        locals: str,
        query_locals: str = "",
        depth: int = 100,
        check: str = "similarity",
        tolerance: float = 0.15,
        least: float = 0.0,
        beta: float = 0.0,
    ) -> None:
        super().__init__(locals, query_locals, depth, beta)
        if check not in CHECKS or tolerance <= 0:
            raise UsageError(
                f"check must be one of {', '.join(CHECKS)}, tolerance above 0, got {check!r} and"
                f" {tolerance}"
            )
        self.check, self.tolerance, self.least = check, tolerance, least

    def compare(self, query: Tokens, images: Tokens) -> np.ndarray:
        """[n] float64."""
        near = pair_cosines(query, images)
        there = images.weights > 0
        near = np.where(there[:, None, :], near, -2)
        made = np.zeros(len(near))
        for row in range(len(near)) if near.shape[1] else ():
            first, second = find_mutual(near[row], self.least)
            cosines = near[row, first, second]
            places = query.places[first], images.places[row, second]
            total = self._agree(cosines, *places)
            made[row] = total / max(1, int(there[row].sum()))
        return made

    def _agree(self, cosines: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
        """The largest sum of cosines of matches that one transform explains."""
        size = CHECKS[self.check]
        if not size or len(cosines) <= size - 1:
            return float(cosines.sum()) if not size else float(cosines.max(initial=0))
        picks = choose_picks(cosines, size)
        maps, fine = fit_maps(start[picks], end[picks], size)
        around = np.concatenate([start, np.ones((len(start), 1))], axis=1)
        put = np.einsum("tij,mj->tmi", maps, around)
        inliers = np.linalg.norm(put - end, axis=2) <= self.tolerance
        sums = inliers @ cosines
        return float(max(np.where(fine, sums, 0).max(), cosines.max()))


def find_mutual(near: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The mutual nearest pairs of a table of cosines [Kq, K], best first."""
    there = near.argmax(axis=1)
    first = np.flatnonzero(near.argmax(axis=0)[there] == np.arange(len(near)))
    second = there[first]
    kept = near[first, second] >= least
    first, second = first[kept], second[kept]
    order = np.argsort(-near[first, second], kind="stable")
    return first[order], second[order]


def choose_picks(cosines: np.ndarray, size: int) -> np.ndarray:
    """Sets [T, size] of matches that a transform is fitted to: those of the best matches first."""
    best = range(len(cosines))
    # The largest number in a set grows, so that the sets of the best matches come first.
    sets = (
        (*some, last) for last in best for some in itertools.combinations(range(last), size - 1)
    )
    return np.array(list(itertools.islice(sets, TRIALS)), np.int64).reshape(-1, size)


def fit_maps(start: np.ndarray, end: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Transforms [T, 2, 3] that put start [T, size, 2] on end, and whether each makes sense [T].

    Of two points a turn, a scale and a shift; of three an affine transform without a reflection.
    """
    side = start[:, 1:] - start[:, :1], end[:, 1:] - end[:, :1]
    maps = np.zeros((len(start), 2, 3))
    if size == 2:
        # As complex numbers: the turn and the scale are one quotient.
        before, after = (one[:, 0, 0] + 1j * one[:, 0, 1] for one in side)
        fine = (abs(before) > 1e-6) & (abs(after) > 1e-6)
        turn = np.where(fine, after, 1) / np.where(fine, before, 1)
        maps[:, 0, 0] = maps[:, 1, 1] = turn.real
        maps[:, 1, 0], maps[:, 0, 1] = turn.imag, -turn.imag
    else:
        spans = np.linalg.det(side[0])
        fine = abs(spans) > 1e-6
        safe = np.where(fine[:, None, None], side[0], np.eye(2))
        # Rows are points, so that A' solves start A' = end.
        maps[:, :, :2] = np.linalg.solve(safe, side[1]).transpose(0, 2, 1)
    area = np.linalg.det(maps[:, :, :2])
    fine &= (area > MOST_ZOOM**-2) & (area < MOST_ZOOM**2)
    maps[:, :, 2] = end[:, 0] - np.einsum("tij,tj->ti", maps[:, :, :2], start[:, 0])
    return maps, fine
