"""Which candidate is taken, and what it does to classes that it was not fitted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ._trials import FROZEN, METRICS, Asked, Candidate, Trials

HARM = 0.005  # what a figure may lose, in 0..1
GROUPS = ("seen", "unseen")
HELPS, UNCLEAR, HARMS = "helps", "unclear", "harms"


class Change(NamedTuple):
    """A figure before and after, and the gain with its 95 % interval over classes."""

    group: str
    metric: str
    before: float
    after: float
    gain: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What was found.

    Args:
        candidate: the method's call and the blend to use.
        verdict: HARMS where a figure falls by more than HARM, or does so with every candidate;
            HELPS where the whole interval of unseen classes' gain in the first metric is above 0;
            else UNCLEAR.
        changes: every figure of seen and unseen classes. Where there was a choice, the figures of
            a fold are those of the candidate that the other folds choose.
        queries: group -> how many were asked.
        classes: how many the queries are of.
        unfit: methods that could not be fitted, each with the reason.
    """

    candidate: Candidate
    verdict: str
    changes: tuple[Change, ...]
    queries: dict[str, int]
    classes: int
    unfit: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "method": self.candidate[0],
            "blend": self.candidate[1],
            "verdict": self.verdict,
            "changes": [change._asdict() for change in self.changes],
            "queries": self.queries,
            "classes": self.classes,
            **({"unfit": dict(self.unfit)} if self.unfit else {}),
        }


def describe_unfit(judgement: Judgement) -> list[str]:
    """A line for every method that was left out, with the reason."""
    return [
        f"{call} was left out, as it cannot be fitted without the classes it is judged by: {why}"
        for call, why in judgement.unfit.items()
    ]


def judge(trials: Trials, seed: int = 0) -> Judgement:
    """Choose a candidate and judge the choice on folds that had no part in it.

    Chosen is the best in the mean of the first metric over seen and unseen classes among those by
    which neither loses more than HARM of any figure; where there is none, the best of all.

    Args:
        trials: with one candidate or more beside FROZEN.
        seed: of the bootstrap.
    """
    asked = trials.asked
    everywhere = np.ones(len(asked.folds), bool)
    harmless = choose(trials, everywhere)
    after = {metric: trials.values[FROZEN][metric].copy() for metric in METRICS}
    for number in np.unique(asked.folds):
        here = asked.folds == number
        candidate = choose(trials, ~here) or FROZEN
        for metric in METRICS:
            after[metric][here] = trials.values[candidate][metric][here]
    chosen = harmless or choose(trials, everywhere, harm=np.inf) or FROZEN
    if harmless is None:
        after = dict(trials.values[chosen])
    changes = tuple(_compare(trials, after, seed))
    return Judgement(
        chosen,
        HARMS if harmless is None else _find_verdict(changes),
        changes,
        {group: int(_rows_of(asked, group).sum()) for group in GROUPS},
        len(np.unique(asked.classes)),
        trials.unfit,
    )


def choose(trials: Trials, rows: np.ndarray, harm: float = HARM) -> Candidate | None:
    """The best candidate by some of the queries; None where all harm.

    Args:
        trials: the figures.
        rows: bool [Q] the queries that count.
        harm: what a figure of seen or unseen classes may lose.
    """
    seen, unseen = (_rows_of(trials.asked, group) & rows for group in GROUPS)
    frozen = trials.values[FROZEN]
    best, most = None, -np.inf
    for candidate, values in trials.values.items():
        losses = [
            np.mean((frozen[metric] - values[metric])[group])
            for metric in METRICS
            for group in (seen, unseen)
        ]
        if candidate == FROZEN or max(losses) > harm:
            continue
        first = values[METRICS[0]]
        value = float(first[seen].mean() + first[unseen].mean())
        if value > most:
            best, most = candidate, value
    return best


def class_interval(
    values: np.ndarray, classes: np.ndarray, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of a mean over queries when classes are the sample, not queries: images of
    one class are alike.

    Args:
        values: [Q].
        classes: int64 [Q]; whole classes are drawn.
        seed, draws, level: as of `structures.interval`.
    """
    numbers = np.unique(classes, return_inverse=True)[1]
    sums, counts = np.bincount(numbers, values), np.bincount(numbers)
    drawn = np.random.default_rng(seed).integers(0, len(counts), (draws, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _compare(trials: Trials, after: dict[str, np.ndarray], seed: int) -> Iterable[Change]:
    asked = trials.asked
    for group in GROUPS:
        rows = _rows_of(asked, group)
        for metric in METRICS:
            old, new = trials.values[FROZEN][metric][rows], after[metric][rows]
            span = class_interval(new - old, asked.classes[rows], seed)
            before, later = float(old.mean()), float(new.mean())
            yield Change(group, metric, before, later, later - before, *span)


def _rows_of(asked: Asked, group: str) -> np.ndarray:
    return asked.unseen if group == "unseen" else ~asked.unseen


def _find_verdict(changes: tuple[Change, ...]) -> str:
    if min(change.gain for change in changes) < -HARM:
        return HARMS
    first = next(change for change in changes if change.group == "unseen")
    return HELPS if first.low > 0 else UNCLEAR
