"""Classes that are one thing under two names, found in a trained classifier."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from ..errors import DataError
from ..knn.vectors import unit_rows

LEAST, DEVIATIONS, BLOCK = 0.6, 6.0, 2048
ERROR = ("classifier row", "train on, or take another checkpoint")


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """What was found.

    Args:
        groups: class numbers of every group, rising, the largest group first.
        cosines: the least cosine of the joined pairs of every group.
        tau: the cosine from which on classes were joined.
        classes: how many classes there are.
    """

    groups: tuple[tuple[int, ...], ...]
    cosines: tuple[float, ...]
    tau: float
    classes: int


def duplicate_classes(rows: np.ndarray, centers: int = 1, tau: float | None = None) -> Duplicates:
    """Group the classes whose rows in a cosine classifier nearly agree; no label is changed.

    A converged margin classifier pushes different classes apart, and cannot with one thing under
    two names. Classes of cosine tau and more are joined, and connected ones are a group (DIGIX
    2020, second place, found 150 to 200 of 3,097 so). Without tau it is the larger of 0.6 and the
    mean + 6 standard deviations of the cosines of every class with its nearest other, both from
    their quartiles, so that the duplicates themselves do not raise it; where there are few classes,
    or many duplicates, give tau.

    Args:
        rows: [C * centers, D], the classifier's weights; of several centers a class the mean
            direction is taken.
        centers: rows a class.
        tau: the least cosine.

    Raises:
        DataError: a class has a row of zeros, or one that is not finite; or there are fewer than
            two classes.
    """
    units = unit_rows(rows, *ERROR).reshape(-1, centers, np.shape(rows)[1]).mean(axis=1)
    units = unit_rows(units, *ERROR)
    if len(units) < 2:
        raise DataError(f"{len(units)} classes: at least two are needed to compare")
    nearest, pairs, cosines = _pairs(units, LEAST if tau is None else tau)
    tau = max(LEAST, _rule(nearest)) if tau is None else float(tau)
    kept = cosines >= tau
    pairs, cosines = pairs[kept], cosines[kept]
    graph = scipy.sparse.coo_array(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(units),) * 2
    )
    of_class = connected_components(graph, directed=False)[1]
    least = np.full(of_class.max() + 1, np.inf)
    np.minimum.at(least, of_class[pairs[:, 0]], cosines)
    found = [np.flatnonzero(of_class == part) for part in np.flatnonzero(np.isfinite(least))]
    found.sort(key=lambda group: (-len(group), group[0]))
    return Duplicates(
        tuple(tuple(group.tolist()) for group in found),
        tuple(float(least[of_class[group[0]]]) for group in found),
        tau,
        len(units),
    )


def _rule(nearest: np.ndarray) -> float:
    """Mean + 6 standard deviations, both from the quartiles."""
    low, middle, high = np.quantile(nearest, [0.25, 0.5, 0.75])
    return float(middle + DEVIATIONS * (high - low) / 1.349)


def _pairs(units: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every class's cosine with its nearest other; the pairs from tau on, [P, 2], and their
    cosines.
    """
    nearest, pairs, cosines = [], [], []
    for start in range(0, len(units), BLOCK):
        block = units[start : start + BLOCK] @ units.T
        own = np.arange(len(block))
        block[own, start + own] = -2
        nearest.append(block.max(axis=1))
        first, second = np.nonzero(block >= tau)
        later = second > first + start
        pairs.append(np.stack([first[later] + start, second[later]], axis=1))
        cosines.append(block[first[later], second[later]])
    return np.concatenate(nearest), np.concatenate(pairs), np.concatenate(cosines)
