"""What an ablation has measured: means over seeds, intervals over queries, and each step's gain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...io.text_table import align_columns
from ...metrics._paired import gain
from ...structures import Score, interval


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
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
        return tuple(_mean(together) for together in zip(*self.scores, strict=True))

    def spread(self, metric: int) -> float | None:
        """Standard deviation of a metric over the seeds; None with one seed."""
        values = [scores[metric].value for scores in self.scores]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean(scores: Sequence[Score]) -> Score:
    first = scores[0]
    per_query = (
        None if first.per_query is None else np.mean([score.per_query for score in scores], axis=0)
    )
    return Score(
        first.name, float(np.mean([score.value for score in scores])), per_query, first.protocol
    )


def rows(steps: Sequence[Measured]) -> list[dict[str, Any]]:
    """Rows of results.json: each metric, "… gain" over the step before, and "… spread" over seeds,
    shares in 0..1.
    """
    made = []
    for step in steps:
        figures: dict[str, float] = {}
        spans: dict[str, list[float]] = {}
        for score in step.mean:
            figures[score.name] = float(score.value)
            _put_span(
                spans, score.name, None if score.per_query is None else interval(score.per_query)
            )
        for number, score in enumerate(step.mean):
            if step.before is not None:
                found = gain(steps[step.before].mean[number], score)
                figures[f"{score.name} gain"] = found.value
                _put_span(spans, f"{score.name} gain", found.span)
            if step.spread(number) is not None:
                figures[f"{score.name} spread"] = step.spread(number)
        made.append(
            {
                "name": step.name,
                "metrics": figures,
                "interval": spans,
                "seconds": round(step.seconds, 3),
            }
        )
    return made


def _put_span(spans: dict[str, list[float]], name: str, span: tuple[float, float] | None) -> None:
    if span is not None and not np.isnan(span).any():
        spans[name] = list(span)


def figures_only(made: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows without gains and spreads: a page shows the change since the row above by itself."""
    return [
        {
            **one,
            "metrics": {
                name: value
                for name, value in one["metrics"].items()
                if not name.endswith((" gain", " spread"))
            },
        }
        for one in made
    ]


def text(steps: Sequence[Measured]) -> str:
    """The table as text, in percent: each metric with its interval, and its gain with its
    interval.
    """
    names = [score.name for score in steps[0].mean]
    head = ["", *(cell for name in names for cell in (name, "(95 %)", "gain", "(95 %)")), "seconds"]
    lines = [head]
    for step in steps:
        cells = [step.name]
        for number, score in enumerate(step.mean):
            spread = step.spread(number)
            cells.append(
                f"{100 * score.value:.1f}"
                + (f" +- {100 * spread:.1f}" if spread is not None else "")
            )
            cells.append(
                _between(None if score.per_query is None else interval(score.per_query), ".1f")
            )
            found = None if step.before is None else gain(steps[step.before].mean[number], score)
            cells += (
                ["", ""]
                if found is None
                else [f"{100 * found.value:+.1f}", _between(found.span, "+.1f")]
            )
        lines.append([*cells, f"{step.seconds:.0f}"])
    return align_columns(lines)


def _between(span: tuple[float, float] | None, form: str) -> str:
    if span is None or np.isnan(span).any():
        return ""
    return f"({100 * span[0]:{form}} {100 * span[1]:{form}})"
