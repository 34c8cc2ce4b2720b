"""Weights of the members, found on one half of the queries and proved on the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..structures import Ranking
from ._linear import Linear, select_best
from ._members import Members

Scorer = Callable[[Ranking], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What tuning found.

    Args:
        weights: those to use: the tuned ones if they proved better than equal ones, else equal
            ones.
        found: those that were best on the half they were tuned on; they add to 1.
        better: whether the found ones are used.
        tuning, held_out: the mean on either half, {"uniform": …, "tuned": …}.
        queries: how many queries counted in either half, {"tuning": …, "held_out": …}.
    """

    weights: tuple[float, ...]
    found: tuple[float, ...]
    better: bool
    tuning: dict[str, float]
    held_out: dict[str, float]
    queries: dict[str, int]


class Effort(NamedTuple):
    """How long weights are searched: `population` vectors a member, bettered `rounds` times at
    most.
    """

    population: int = 15
    rounds: int = 60


USUAL = Effort()


def tune(
    members: Sequence[Ranking],
    fuser: Linear,
    score: Scorer,
    *,
    seed: int = 0,
    min_gain: float = 5e-4,
    effort: Effort = USUAL,
    names: Sequence[str] | None = None,
) -> Tuning:
    """Find weights by differential evolution (Storn and Price 1997); equal weights where they are
    not worse.

    Half of the queries, drawn from the seed, serve to find the weights, the other half only to
    compare them with equal ones. So the held-out figures are honest, and the tuning figures are
    not.

    Args:
        members: rankings of the same queries.
        fuser: what fuses them; its own weights are not used.
        score: called with a fused ranking of some of the queries; gives their values [q], NaN where
            one is not counted.
        seed: of the halves and the search; the same seed gives the same weights.
        min_gain: by how much the tuned weights must beat equal ones on the held-out half.
        effort: how long is searched.
        names: what errors call the members.

    Raises:
        DataError: in one half no query is counted. UsageError: the seed is negative, or as when
            fusing.
        ArtefactError: as when fusing.
    """
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    together = Members.match(members, names, fuser.union, fuser.find_scale)
    halves = [
        _Half(together, fuser, rows, score) for rows in _split_queries(together.query_ids, seed)
    ]
    uniform = np.full(len(members), 1 / len(members))
    found = _find_weights(halves[0], len(members), seed, effort) if len(members) > 1 else uniform
    tuning, held_out = (
        {"uniform": half.mean(uniform), "tuned": half.mean(found)} for half in halves
    )
    better = (
        tuning["tuned"] > tuning["uniform"] and held_out["tuned"] - held_out["uniform"] > min_gain
    )
    counted = dict(zip(("tuning", "held_out"), (half.counted for half in halves), strict=True))
    return Tuning(
        tuple(map(float, found if better else uniform)),
        tuple(map(float, found)),
        better,
        tuning,
        held_out,
        counted,
    )


def _split_queries(query_ids: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the two halves; which query goes where depends on the ids and the seed, not on the
    order.
    """
    drawn = np.argsort(query_ids)[np.random.default_rng(seed).permutation(len(query_ids))]
    half = (len(drawn) + 1) // 2
    return np.sort(drawn[:half]), np.sort(drawn[half:])


class _Half:
    """Some of the queries, their candidates gathered once, to be fused with many weights."""

    def __init__(self, members: Members, fuser: Linear, rows: np.ndarray, score: Scorer) -> None:
        self._members = dataclasses.replace(
            members,
            query_ids=members.query_ids[rows],
            query_rows=tuple(own[rows] for own in members.query_rows),
        )
        self._keep, self._least, self._score = (
            fuser.list_length(members),
            fuser.least_width(members),
            score,
        )
        self._candidates = fuser.gather_candidates(self._members, slice(0, len(rows)))
        self.counted = int((~np.isnan(self._score_weights(np.ones(len(members.rankings))))).sum())
        if not self.counted:
            raise DataError(
                f"none of the {len(rows)} queries of one half is counted, so weights cannot be"
                " tuned: give more queries that have an answer"
            )

    def mean(self, weights: np.ndarray) -> float:
        """The mean over the counted queries; 0 for weights that are all 0."""
        return float(np.nanmean(self._score_weights(weights))) if weights.any() else 0.0

    def _score_weights(self, weights: np.ndarray) -> np.ndarray:
        rows, scores = select_best(self._candidates, weights, self._members.gallery_ids, self._keep)
        short = max(0, self._least - rows.shape[1])
        rows, scores = (
            np.pad(part, ((0, 0), (0, short)), constant_values=fill)
            for part, fill in ((rows, -1), (scores, -np.inf))
        )
        return self._score(
            Ranking(self._members.query_ids, self._members.gallery_ids, rows, scores)
        )


def _find_weights(half: _Half, members: int, seed: int, effort: Effort) -> np.ndarray:
    """The best weights on a half; they add to 1."""
    from scipy.optimize import (
        differential_evolution,
    )  # half a second to import, and only tuning needs it

    found = differential_evolution(
        lambda weights: -half.mean(weights),
        [(0, 1)] * members,
        popsize=effort.population,
        maxiter=effort.rounds,
        init="sobol",
        polish=False,
        seed=np.random.default_rng(seed),
    ).x
    return found / found.sum()
