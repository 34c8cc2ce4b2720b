"""Weights of a blend of classifiers, evolved on one half of the images and proved on the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..errors import DataError, UsageError
from .blend import blend_members

Cost = Callable[[np.ndarray], float]
TIE = 1e-3  # of the negative log-likelihood in the objective: the error alone is a staircase


@dataclasses.dataclass(frozen=True)
class Evolved:
    """What the evolution found.

    Args:
        weights: those to use: the evolved ones if they proved better than equal ones, else equal
            ones; they sum to 1.
        found: the best on the half they were evolved on.
        better: whether the found ones are used.
        held_out: accuracy on the other half, {"uniform": …, "evolved": …}.
        evaluations: how often the objective was computed.
    """

    weights: tuple[float, ...]
    found: tuple[float, ...]
    better: bool
    held_out: dict[str, float]
    evaluations: int


def evolve(
    stack: np.ndarray,
    truth: np.ndarray,
    ids: np.ndarray,
    seed: int = 0,
    method: str = "de",
    min_gain: float = 5e-4,
) -> Evolved:
    """Find the weights of M members by an evolutionary search; equal weights where they are not
    worse.

    The objective is the error plus 0.001 times the negative log-likelihood, on half of the images;
    the other half only decides whether the weights are used. Winners of iNat Challenge 2021
    weighted their votes so.

    Args:
        stack: [M, N, C] probabilities.
        truth: int64 [N], -1 for an image of no known class; such images are left out.
        ids: [N] names; which half an image is in depends on its name and the seed, not on its place.
        seed: of the halves and the search.
        method: "de" (differential evolution, Storn and Price 1997) or "cma" (CMA-ES, Hansen 2001;
            the cma package).
        min_gain: by how much the accuracy on the held-out half must be better than that of equal
            weights.

    Raises:
        UsageError: unknown method, or the cma package is missing.
        DataError: a half has no image.
    """
    if method not in SEARCHES:
        raise UsageError(f"method must be one of {', '.join(SEARCHES)}, got {method!r}")
    learn, prove = halves(truth, ids, seed)
    members, uniform = len(stack), np.full(len(stack), 1 / len(stack))
    cost = _Objective(stack[:, learn], truth[learn])
    found = SEARCHES[method](cost, members, seed) if members > 1 else uniform
    proof = {
        name: accuracy(blend_members(stack[:, prove], weights), truth[prove])
        for name, weights in (("uniform", uniform), ("evolved", found))
    }
    # Both halves must agree, or the gain is one of chance.
    better = proof["evolved"] - proof["uniform"] >= min_gain and cost(found) < cost(uniform)
    used = found if better else uniform
    return Evolved(
        tuple(map(float, used)), tuple(map(float, found)), bool(better), proof, cost.evaluations
    )


def halves(truth: np.ndarray, ids: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the two halves of `evolve`, the one learned from and the one held out.

    Raises:
        DataError: one has no image.
    """
    rows = np.flatnonzero(truth >= 0)
    if len(rows) < 2:
        raise DataError(f"{len(rows)} images of known classes cannot be halved")
    # By name: in which order the files list the images decides nothing.
    drawn = rows[np.argsort(ids[rows], kind="stable")][
        np.random.default_rng(seed).permutation(len(rows))
    ]
    learn, prove = np.array_split(drawn, 2)
    return np.sort(learn), np.sort(prove)


def cross_halves(
    stack: np.ndarray, truth: np.ndarray, ids: np.ndarray, seed: int = 0, method: str = "de"
) -> tuple[np.ndarray, list[Evolved]]:
    """The blend of all images, each half weighted by what `evolve` found on the other: no image
    decides on its own.

    Args:
        stack, truth, ids, seed, method: see `evolve`; images of no known class get equal weights.

    Returns:
        probabilities float32 [N, C], and what was found for the first and for the second half.

    Raises:
        UsageError, DataError: as `evolve`; a half must be halved again.
    """
    made, found = blend_members(stack), []
    first, second = halves(truth, ids, seed)
    for mine, other in ((first, second), (second, first)):
        found.append(evolve(stack[:, other], truth[other], ids[other], seed, method))
        made[mine] = blend_members(stack[:, mine], found[-1].weights)
    return made, found


def accuracy(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Share of the images whose first class is their own."""
    return float((probabilities.argmax(axis=1) == truth).mean())


class _Objective:
    """Error + TIE * negative log-likelihood of a blend, counting how often it was asked."""

    def __init__(self, stack: np.ndarray, truth: np.ndarray) -> None:
        self.stack, self.truth, self.evaluations = stack, truth, 0

    def __call__(self, weights: np.ndarray) -> float:
        self.evaluations += 1
        blend = blend_members(self.stack, simplex(weights))
        likely = blend[np.arange(len(self.truth)), self.truth]
        return (
            1 - accuracy(blend, self.truth) - TIE * float(np.log(np.maximum(likely, 1e-12)).mean())
        )


def simplex(weights: np.ndarray) -> np.ndarray:
    """|w| / sum of |w|; equal shares where all are 0."""
    size = np.abs(np.asarray(weights, float))
    return size / size.sum() if size.sum() > 0 else np.full(len(size), 1 / len(size))


def _differential(cost: Cost, members: int, seed: int) -> np.ndarray:
    from scipy.optimize import (
        differential_evolution,
    )  # slow to import, and only the search needs it

    found = differential_evolution(
        cost, [(0, 1)] * members, popsize=15, maxiter=60, init="sobol", rng=seed, polish=False
    )
    return simplex(found.x)


def _covariance(cost: Cost, members: int, seed: int) -> np.ndarray:
    try:
        import cma
    except ImportError as error:
        raise UsageError(
            'CMA-ES needs the cma package: pip install cma, or use method "de"'
        ) from error

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(np.asarray(values) - np.max(values))
        return powers / powers.sum()

    search = cma.CMAEvolutionStrategy(
        [0.0] * members, 0.5, {"seed": seed + 1, "verbose": -9, "maxiter": 60}
    )
    while not search.stop():
        drawn = search.ask()
        search.tell(drawn, [cost(softmax(one)) for one in drawn])
    return softmax(search.result.xbest)


SEARCHES = {"de": _differential, "cma": _covariance}
