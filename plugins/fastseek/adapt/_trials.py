"""What every candidate scores on classes it was fitted on and on classes it was not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..enhance._blended_map import BlendedMap
from ..errors import DataError
from ..metrics._base import OnHits
from ..metrics._relevance_ranks import from_scores
from ..metrics.map import Map
from ..metrics.recall import Recall
from ..progress import progress
from ..registry import Adapter
from ..structures import GroundTruth
from ._folds import Fold

QUERIES = 512  # scored at once
METRICS = ("map", "recall(1)")
FROZEN = ("", 0.0)  # the candidate that leaves the vectors as they are
Candidate = tuple[str, float]  # the call of a method, and the blend


class Asked(NamedTuple):
    """The queries of all folds, one after the other.

    `folds` [Q] the number of the fold, `unseen` [Q] whether the class was left out of the fit,
    `classes` [Q].
    """

    folds: np.ndarray
    unseen: np.ndarray
    classes: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Trials:
    """The figures of all candidates, query by query.

    Args:
        asked: the queries.
        values: candidate -> metric -> [Q], NaN where a query has no answer; FROZEN among them.
        unfit: call of a method that could not be fitted in a fold -> why; it is no candidate.
    """

    asked: Asked
    values: Mapping[Candidate, Mapping[str, np.ndarray]]
    unfit: Mapping[str, str] = dataclasses.field(default_factory=dict)


def try_candidates(
    vectors: np.ndarray,
    classes: np.ndarray,
    folds: Sequence[Fold],
    methods: Sequence[Adapter],
    blends: Sequence[float],
) -> Trials:
    """Fit every method in every fold and score it with every blend.

    Args:
        vectors: float32 [N, D] of length 1.
        classes: int64 [N].
        folds: as `make_folds` gives them.
        methods: of ADAPTERS.
        blends: shares above 0.

    Raises:
        DataError: no method can be fitted in every fold; says why.
    """
    unfit: dict[str, str] = {}
    values: dict[Candidate, list[np.ndarray]] = {FROZEN: []}
    values |= {(method.call, blend): [] for method in methods for blend in blends}
    for fold in progress(folds, "judging adapters", unit="folds"):
        frozen = BlendedMap(np.zeros(vectors.shape[1]), np.empty((0, vectors.shape[1])), 0)
        values[FROZEN].append(_score(vectors, classes, fold, frozen, (0.0,))[0])
        seen = np.unique(classes[fold.fit], return_inverse=True)[1]
        for method in methods:
            if method.call in unfit:
                continue
            try:
                layer = BlendedMap(*method(vectors[fold.fit], seen), 1)
            except DataError as error:
                unfit[method.call] = str(error)
                continue
            scored = _score(vectors, classes, fold, layer, blends)
            for blend, found in zip(blends, scored, strict=True):
                values[method.call, blend].append(found)
    if len(unfit) == len(methods):
        reasons = "; ".join(f"{call}: {why}" for call, why in unfit.items())
        raise DataError(f"no method can be fitted without the classes it is judged by: {reasons}")
    asked = Asked(
        np.repeat(np.arange(len(folds)), [len(fold.queries) for fold in folds]),
        np.concatenate([fold.unseen for fold in folds]),
        np.concatenate([classes[fold.queries] for fold in folds]),
    )
    fitted = {key: parts for key, parts in values.items() if key[0] not in unfit}
    return Trials(asked, {key: _by_metric(parts) for key, parts in fitted.items()}, unfit)


def _by_metric(parts: list[np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(METRICS, np.concatenate(parts, axis=1), strict=True))


def _score(
    vectors: np.ndarray, classes: np.ndarray, fold: Fold, layer: BlendedMap, blends: Sequence[float]
) -> list[np.ndarray]:
    """For every blend the figures [metrics, Q] of the fold's queries."""
    metrics: tuple[OnHits, ...] = (Map(), Recall(1))
    names = _spell(classes[fold.gallery])
    adapted = layer.project(vectors[fold.gallery])
    found: list[list[np.ndarray]] = [[] for _ in blends]
    for rows in _runs(fold.queries):
        truth = GroundTruth.from_labels(
            _spell(rows), _spell(classes[rows]), _spell(fold.gallery), names
        )
        before = vectors[rows] @ vectors[fold.gallery].T
        after = layer.project(vectors[rows]) @ adapted.T if len(layer.directions) else before
        for number, blend in enumerate(blends):
            hits = from_scores((1 - blend) * before + blend * after, truth)
            scores = [score.per_query for metric in metrics for score in metric.score(hits)]
            found[number].append(np.stack([one for one in scores if one is not None]))
    return [np.concatenate(parts, axis=1) for parts in found]


def _spell(numbers: np.ndarray) -> list[str]:
    return [str(number) for number in numbers.tolist()]


def _runs(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), QUERIES):
        yield rows[start : start + QUERIES]
