"""What all fusers share: an image's score is a weighted sum of what each member says of it.

Members may stand in any order: their shares are added in the order of size, so not even rounding
depends on it. Equal sums are settled by the better best place, then by id.
"""

from __future__ import annotations

import abc
import copy
import inspect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..registry import parse, unparse
from ..structures import Ranking
from ..structures.listed_ids import Ids
from ._members import Members, Scale, keep_scores

NOWHERE = np.iinfo(np.int32).max
SHARED = ("weights", "keep", "union")  # arguments that every fuser has


class Candidates(NamedTuple):
    """Every image that a member lists for a run of queries, by query, then by gallery row.

    `queries` [P] counts from the run's first query, `items` [P] are gallery rows, `values` [P, M]
    float64 what each member says, `places` [P, M] int32 where it lists the image, from 1, NOWHERE
    if it does not. `length` is the number of queries.
    """

    queries: np.ndarray
    items: np.ndarray
    values: np.ndarray
    places: np.ndarray
    length: int


class Linear(abc.ABC):
    """A fuser whose scores are weighted sums of the members' values.

    Args:
        weights: one a member, 0 or more; all 1 when None. A member of weight 0 is left out.
        keep: answers a query gets; as many as the longest list when None.
        union: whether each member may have searched a gallery of its own.
    """

    depth: int | None = None  # how many answers of each member count
    unlisted_is_last = (
        False  # what a member does not list gets the value of the last image it lists, not 0
    )

    adds_raw_scores = False  # whether members' scores are added without being scaled

    def __init__(
        self, weights: Sequence[float] | None = None, keep: int | None = None, union: bool = False
    ) -> None:
        self.weights, self.union = check_weights(weights), union
        self.keep = None if keep is None else check_count("keep", keep)

    @abc.abstractmethod
    def rate(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """What a member says of the images it lists, [b, K], by their scaled scores and places;
        larger is better.
        """

    def find_scale(self, ranking: Ranking) -> Scale:
        """How a member's scores are scaled."""
        return keep_scores(ranking)

    @property
    def call(self) -> str:
        """The call string, with the weights it has now; what all fusers share stands last.

        What is left at a default of None or False is not told.
        """
        name, _, given = parse(self._built_by)
        shared = {key: given.pop(key) for key in SHARED if key in given}
        told = {**given, **shared, "weights": self.weights}
        for key, parameter in inspect.signature(type(self)).parameters.items():
            default = parameter.default
            if told[key] is default and (default is None or default is False):
                del told[key]
        return unparse(name, (), told)

    @call.setter
    def call(self, call: str) -> None:
        self._built_by = call

    def __call__(self, members: Sequence[Ranking], names: Sequence[str] | None = None) -> Ranking:
        """Fuse.

        Args:
            members: rankings of the same queries, in any order.
            names: what errors call them, such as their files.

        Raises:
            UsageError: there is none, or not as many as weights.
            ArtefactError, DataError: as for `Members.match`.
        """
        together = Members.match(members, names, self.union, self.find_scale)
        weights = self.pick_weights(len(together.rankings))
        if self.adds_raw_scores:
            together.warn_of_spans(weights)
        keep, ids = self.list_length(together), together.gallery_ids
        found = [
            (part, *select_best(self.gather_candidates(together, part), weights, ids, keep))
            for part in together.query_blocks()
        ]
        width = max([self.least_width(together), *(rows.shape[1] for _, rows, _ in found)])
        shape = (len(together.query_ids), width)
        indices, fused = np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32)
        for part, rows, scores in found:
            indices[part, : rows.shape[1]] = rows
            fused[part, : rows.shape[1]] = scores
        return Ranking(together.query_ids, ids, indices, fused)

    def gather_candidates(self, members: Members, queries: slice) -> Candidates:
        """All that is needed to fuse a run of queries with any weights."""
        lists = [
            _cut_lists(*members.read_lists(number, queries), self.depth)
            for number in range(len(members.rankings))
        ]
        # A query and a gallery row as one number: what several members list is found by sorting.
        width = max(1, len(members.gallery_ids))
        keys = [np.nonzero(listed)[0] * width + indices[listed] for indices, _, listed in lists]
        distinct, where = np.unique(np.concatenate(keys), return_inverse=True)
        owner = distinct // width
        values = np.empty((len(distinct), len(lists)))
        places = np.full((len(distinct), len(lists)), NOWHERE, np.int32)
        ends = np.cumsum([len(some) for some in keys])[:-1]
        for number, mine in enumerate(np.split(where, ends)):
            indices, scores, listed = lists[number]
            place = np.broadcast_to(np.arange(1, indices.shape[1] + 1), indices.shape)
            rated = self.rate(scores, place)
            unlisted = self._rate_unlisted(rated, listed, members.scales[number].worst)
            values[:, number] = unlisted[owner]
            values[mine, number] = rated[listed]
            places[mine, number] = place[listed]
        return Candidates(owner, distinct % width, values, places, queries.stop - queries.start)

    def _rate_unlisted(self, rated: np.ndarray, listed: np.ndarray, worst: float) -> np.ndarray:
        """What a member says of an image it does not list, [b]."""
        if not self.unlisted_is_last:
            return np.zeros(len(rated))
        last = rated.min(axis=1, initial=np.inf, where=listed)
        return np.where(listed.any(axis=1), last, worst)

    def list_length(self, members: Members) -> int:
        """How many answers a query gets."""
        return self.keep or min(self.depth or members.depth, members.depth)

    def least_width(self, members: Members) -> int:
        """How wide the answer is at least: as the lists are, though every query may have fewer
        answers.
        """
        return min(self.list_length(members), self.depth or members.depth, members.depth)

    def pick_weights(self, members: int) -> np.ndarray:
        """[M] the weights.

        Raises:
            UsageError: there are more or fewer than members.
        """
        if self.weights is None:
            return np.ones(members)
        if len(self.weights) != members:
            raise UsageError(
                f"{len(self.weights)} weights for {members} members: give one a member, or none"
                " at all"
            )
        return np.asarray(self.weights, np.float64)

    def reweigh(self, weights: Sequence[float]) -> Linear:
        """The same fuser with other weights."""
        other = copy.copy(self)
        other.weights = check_weights(weights)
        return other


def select_best(
    candidates: Candidates, weights: np.ndarray, gallery_ids: Ids, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gallery rows [b, k] int64 and scores [b, k] float32 of the best `keep` images a query, -1 and
    -inf at the end.
    """
    score, place = _sum_shares(candidates, weights)
    chosen = np.flatnonzero(_is_among_best(candidates, score, keep))
    query, item = candidates.queries[chosen], candidates.items[chosen]
    order = np.lexsort((gallery_ids[item], place[chosen], -score[chosen], query))
    # The queries rise, so a candidate's place in its row is how far it stands behind the first.
    at = np.arange(len(order)) - np.searchsorted(query, query)
    order, at = order[at < keep], at[at < keep]
    shape = (candidates.length, int(at.max(initial=-1)) + 1)
    rows, scores = np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32)
    rows[query[order], at] = item[order]
    scores[query[order], at] = score[chosen[order]]
    return rows, scores


def _sum_shares(candidates: Candidates, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weighted sum [P] float32 of every candidate, and its best place [P] in any list."""
    used = weights > 0
    if not len(candidates.places):
        return np.empty(0, np.float32), np.empty(0, np.int32)
    place = candidates.places[:, used].min(axis=1)
    shares = candidates.values[:, used] * weights[used]
    shares.sort(axis=1)  # so that the order of the members changes nothing, not even rounding
    total = shares.sum(axis=1)
    return np.where(place < NOWHERE, total, -np.inf).astype(np.float32), place


def _is_among_best(candidates: Candidates, score: np.ndarray, keep: int) -> np.ndarray:
    """[P] whether a candidate's score is one of its query's `keep` best; of equal ones at the end
    all are taken.
    """
    starts = np.searchsorted(candidates.queries, np.arange(candidates.length + 1))
    most = int(np.diff(starts).max(initial=0))
    if most <= keep:
        return np.isfinite(score)
    grid = np.full((candidates.length, most), np.inf, np.float32)
    grid[candidates.queries, np.arange(len(score)) - starts[candidates.queries]] = -score
    worst = -np.partition(grid, keep - 1, axis=1)[:, keep - 1]
    return (score >= worst[candidates.queries]) & np.isfinite(score)


def _cut_lists(
    indices: np.ndarray, scores: np.ndarray, depth: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indices, scores = indices[:, :depth], scores[:, :depth]
    return indices, scores, indices >= 0


def check_count(name: str, value: int) -> int:
    """A number of answers.

    Raises:
        ValueError: it is not a whole number of 1 or more.
    """
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    return value


def check_weights(weights: Sequence[float] | None) -> tuple[float, ...] | None:
    """The weights of a recipe, None for all alike.

    Raises:
        ValueError: one is negative or not finite, or none is above 0.
    """
    if weights is None:
        return None
    legal = tuple(float(weight) for weight in weights)
    if not legal or not all(0 <= weight < np.inf for weight in legal) or not any(legal):
        raise ValueError(f"weights must be finite, 0 or more, and not all 0, got {legal}")
    return legal
