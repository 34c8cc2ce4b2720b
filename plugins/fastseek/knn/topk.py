"""The best k of a few queries while tiles of a gallery go by: a scan proposes pairs, exact scores
decide.

Whatever the precision of the scan, no pair is left out that could be among the best k: a pair is
dropped only when its score, at the most it can be, is below what k other pairs reach at the least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import RunError
from .scan.codes import Codes, Pairs, Scan, set_cells
from .sort_keys import EMPTY, KeyArray, scores_of

PAIRS = 1 << 21  # proposed pairs held at once: 48 MB
Exact = Callable[[np.ndarray, np.ndarray], KeyArray]
Proposals = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # rows, cols, least, most score


class Workspace(NamedTuple):
    """Memory for one tile and its mask, used again and again."""

    work: Any
    mask: Any


class BoundViolated(RunError):
    """A scan was farther from the exact score than its arithmetic allows."""


class TopK:
    """The best pairs of some queries so far.

    Args:
        scan: the precision of the comparison.
        queries: their codes.
        keys: [q, k] uint64, the best so far as `sort_keys` makes them, EMPTY where there is none.
        exact: the keys of the pairs (rows, cols), scored exactly.
    """

    def __init__(self, scan: Scan, queries: Codes, keys: KeyArray, exact: Exact) -> None:
        self.scan, self.queries, self.keys, self.exact = scan, queries, keys, exact
        self.floor = scores_of(keys[:, -1])
        self.count = self.left = 0
        self.proposals: list[Proposals] = []

    def propose(self, gallery: Codes, first: int, workspace: Workspace) -> Any:
        """Propose pairs with a tile of the gallery whose first row is number `first`; returns the
        tile.
        """
        tile = self.scan.product(self.queries, gallery, workspace.work)
        widest = self.widest(gallery)
        # Until k pairs are known nothing bounds a query from below, and all of its pairs would be proposed.
        if np.isneginf(self.floor).any():
            self._raise_floor(tile, gallery, widest)
        # Too many pairs at once would not fit into memory: the floor is raised first.
        pairs = self._pairs(tile, gallery, widest, workspace, PAIRS // 8)
        if pairs is None:
            self._raise_floor(tile, gallery, widest)
            pairs = self._pairs(tile, gallery, widest, workspace, None)
            assert pairs is not None  # they are only refused where there is a limit
        self._remember(gallery, first, pairs)
        # Pruning sorts, so it waits until the pairs have doubled since the last time.
        if self.count >= 2 * max(self.left, self.keys.size):
            self._prune()
            if self.count > PAIRS // 2:
                self.settle()
        return tile

    def settle(self) -> np.ndarray:
        """Score what was proposed exactly and return the best keys [q, k] so far."""
        if self.count:
            self._prune()
            rows, cols, least, most = self._all()
            keys = self.exact(rows, cols)
            scores = scores_of(keys)
            # One pair outside its bounds means that a dropped one may have been among the best.
            if self.scan.proven and not ((least <= scores) & (scores <= most)).all():
                raise BoundViolated(
                    f"products in {self.scan.name} are less exact here than they should be"
                )
            new = spread_of_scores(rows, keys, len(self.keys), EMPTY)
            depth = self.keys.shape[1]
            self.keys = np.sort(np.concatenate([self.keys, new], axis=1), axis=1)[:, :depth]
            self.floor = np.maximum(self.floor, scores_of(self.keys[:, -1]))
            self.proposals, self.count, self.left = [], 0, 0
        return self.keys

    def widest(self, gallery: Codes) -> np.ndarray:
        """The slack of every query with a tile as a whole."""
        worst = Codes(None, gallery.lengths.max(), gallery.errors.max(), gallery.scales.max())
        return self._slack(self.queries, worst)

    def _slack(self, queries: Codes, gallery: Codes) -> np.ndarray:
        if not self.scan.proven:
            return np.zeros_like(queries.lengths)
        return self.scan.slack(self.queries.held.shape[1], queries, gallery)

    @property
    def _rounding(self) -> float:
        return self.scan.rounding if self.scan.proven else 0.0

    def _pairs(
        self, tile: Any, gallery: Codes, widest: np.ndarray, workspace: Workspace, most: int | None
    ) -> Pairs | None:
        floor = self.floor - widest
        return self.scan.pairs(tile, self.queries, gallery, floor, workspace.mask, most)

    def _raise_floor(self, tile: Any, gallery: Codes, widest: np.ndarray) -> None:
        """Lift the floor to what the k-th best of this tile has at least."""
        if len(gallery) >= self.keys.shape[1]:
            kth = self.scan.bound_kth(tile, self.queries, gallery, self.keys.shape[1])
            self.floor = np.maximum(self.floor, kth - widest - self._rounding * np.abs(kth))

    def _remember(self, gallery: Codes, first: int, pairs: Pairs) -> None:
        """Remember the proposed pairs, each with the least and the most its score can be."""
        rows, cols, scores = pairs
        each = [
            Codes(None, side.lengths[part], side.errors[part], side.scales[part])
            for side, part in ((self.queries, rows), (gallery, cols))
        ]
        slack = self._slack(*each) + self._rounding * np.abs(scores)
        stay = scores + slack >= self.floor[rows]
        low, high = scores - slack, scores + slack
        self.proposals.append((rows[stay], cols[stay] + first, low[stay], high[stay]))
        self.count += len(self.proposals[-1][0])

    def _all(self) -> Proposals:
        """The proposed pairs, those of one query together."""
        rows, cols, least, most = map(np.concatenate, zip(*self.proposals, strict=True))
        # The pairs of one tile come by rising rows already.
        if len(self.proposals) > 1:
            order = np.argsort(rows.astype(np.uint32), kind="stable")
            return rows[order], cols[order], least[order], most[order]
        return rows, cols, least, most

    def _prune(self) -> None:
        """Drop the pairs that k others surely beat."""
        rows, cols, least, most = self._all()
        known = np.concatenate(
            [scores_of(self.keys), spread_of_scores(rows, least, len(self.keys), -np.inf)], axis=1
        )
        depth = self.keys.shape[1]
        self.floor = np.maximum(self.floor, np.partition(known, -depth, axis=1)[:, -depth])
        stay = most >= self.floor[rows]
        self.proposals = [(rows[stay], cols[stay], least[stay], most[stay])]
        self.count = self.left = int(stay.sum())


class Lowest:
    """The lowest exact score of every query, from the tiles that its `TopK` looks at.

    Args:
        topk: whose tiles are looked at.
        lowest: [q] float32, brought down in place.
    """

    def __init__(self, topk: TopK, lowest: np.ndarray) -> None:
        self.topk, self.lowest = topk, lowest

    def update(self, tile: Any, gallery: Codes, first: int) -> None:
        """Score whatever in this tile may be lower than the lowest so far, and bring `lowest` up to
        date.
        """
        topk, scan = self.topk, self.topk.scan
        least = scan.lowest(tile, topk.queries, gallery)
        slack = topk.widest(gallery) + scan.rounding * np.abs(least)
        lower = np.flatnonzero(least - slack < self.lowest)
        if not len(lower):
            return
        scores = scan.scores(tile[lower], topk.queries.part(lower), gallery)
        near = scores <= (least + 2 * slack)[lower, None]
        rows, cols = np.divmod(set_cells(near), scores.shape[1])
        exact = scores_of(topk.exact(lower[rows], first + cols))
        np.minimum.at(self.lowest, lower[rows], exact)


def spread_of_scores(rows: np.ndarray, values: np.ndarray, count: int, fill: object) -> np.ndarray:
    """Values of rising row numbers as a matrix [count, most values a row], its rows filled up with
    `fill`.
    """
    counts = np.bincount(rows, minlength=count)
    starts = np.cumsum(counts) - counts
    matrix = np.full((count, int(counts.max(initial=0))), fill, values.dtype)
    matrix[rows, np.arange(len(rows)) - starts[rows]] = values
    return matrix
