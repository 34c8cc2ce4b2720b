"""What an ablation has measured: means over seeds, intervals over queries, and each step's gain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from ...io.text_table import align_columns
from ...metrics._paired import gain
from ...structures import Score, interval

Span = tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class StepScores:
    """One step.

    Args:
        name: its heading.
        before: number of the step it is compared with, None for none.
        scores: for every seed its scores, in one order.
        seconds: of all seeds together.
    """

    name: str
    before: int | None
    scores: tuple[tuple[Score, ...], ...]
    seconds: float

    @property
    def mean(self) -> tuple[Score, ...]:
        """Every metric, averaged over the seeds query by query."""
        return tuple(_mean(of_metric) for of_metric in zip(*self.scores, strict=True))

    def spread(self, metric: int) -> float | None:
        """Standard deviation of a metric over the seeds; None with one seed."""
        values = [scores[metric].value for scores in self.scores]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean(scores: Sequence[Score]) -> Score:
    first = scores[0]
    by_query = [score.per_query for score in scores if score.per_query is not None]
    value = float(np.mean([score.value for score in scores]))
    per_query = np.mean(by_query, axis=0) if len(by_query) == len(scores) else None
    return Score(first.name, value, per_query, first.protocol)


def rows(steps: Sequence[StepScores]) -> list[dict[str, Any]]:
    """Rows of results.json: each metric, "… gain" over the step before, and "… spread" over seeds,
    shares in 0..1.
    """
    made = []
    for step in steps:
        figures: dict[str, float] = {}
        spans: dict[str, Span | None] = {}
        for score in step.mean:
            figures[score.name] = float(score.value)
            spans[score.name] = _interval(score)
        for number, score in enumerate(step.mean):
            if step.before is not None:
                found = gain(steps[step.before].mean[number], score)
                figures[f"{score.name} gain"] = found.value
                spans[f"{score.name} gain"] = found.span
            spread = step.spread(number)
            if spread is not None:
                figures[f"{score.name} spread"] = spread
        intervals = {name: list(span) for name, span in spans.items() if _is_known(span)}
        seconds = round(step.seconds, 3)
        row = {"name": step.name, "metrics": figures, "interval": intervals, "seconds": seconds}
        made.append(row)
    return made


def _interval(score: Score) -> Span | None:
    return None if score.per_query is None else interval(score.per_query)


def _is_known(span: Span | None) -> TypeGuard[Span]:
    return span is not None and not np.isnan(span).any()


def figures_only(made: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows without gains and spreads: a page shows the change since the row above by itself."""
    return [{**row, "metrics": _without_derived(row["metrics"])} for row in made]


def _without_derived(metrics: Mapping[str, float]) -> dict[str, float]:
    ends = (" gain", " spread")
    return {name: value for name, value in metrics.items() if not name.endswith(ends)}


def text(steps: Sequence[StepScores]) -> str:
    """The table as text, in percent: each metric with its interval, and its gain with its
    interval.
    """
    head = [""]
    for score in steps[0].mean:
        head += [score.name, "(95 %)", "gain", "(95 %)"]
    lines = [[*head, "seconds"]]
    for step in steps:
        cells = [step.name]
        for number in range(len(step.mean)):
            cells += _cells(steps, step, number)
        lines.append([*cells, f"{step.seconds:.0f}"])
    return align_columns(lines)


def _cells(steps: Sequence[StepScores], step: StepScores, metric: int) -> list[str]:
    """The four cells of one metric in one step's line."""
    score, spread = step.mean[metric], step.spread(metric)
    value = f"{100 * score.value:.1f}"
    value += "" if spread is None else f" +- {100 * spread:.1f}"
    cells = [value, _between(_interval(score), ".1f")]
    if step.before is None:
        return [*cells, "", ""]
    found = gain(steps[step.before].mean[metric], score)
    return [*cells, f"{100 * found.value:+.1f}", _between(found.span, "+.1f")]


def _between(span: Span | None, form: str) -> str:
    if not _is_known(span):
        return ""
    return f"({100 * span[0]:{form}} {100 * span[1]:{form}})"
