"""results.json: what a run has reached, one row a step or member."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..io.json_files import write_json
from ..io.paths import PathLike
from ..structures import Score
from ..structures.score import name_protocol
from .interval import interval

KEYS = {"name", "metrics", "interval", "seconds", "protocol"}


def row(name: str, scores: Sequence[Score], seconds: float | None = None) -> dict[str, Any]:
    """One row of results.json.

    Args:
        name: the step ("after training") or the member.
        scores: its figures; those that are means get their bootstrap interval.
        seconds: how long the step took.
    """
    spans = {score.name: interval(score) for score in scores}
    made: dict[str, Any] = {
        "name": name,
        "metrics": {score.name: float(score.value) for score in scores},
        "interval": {key: list(span) for key, span in spans.items() if span is not None},
    }
    told = {name_protocol(score.protocol) for score in scores if "protocol" in score.protocol}
    if len(told) == 1:
        made["protocol"] = told.pop()
    return made if seconds is None else made | {"seconds": round(float(seconds), 3)}


def write_results(
    path: PathLike,
    rows: Sequence[Mapping[str, Any]],
    commit: str,
    seed: int,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Write outputs/<target>/results.json, whole or not at all.

    Args:
        path: the file.
        rows: in order, each with "name" and "metrics" (name -> number), perhaps "interval" (name ->
            [low, high]), "seconds" and "protocol" (its name).
        commit: the git commit of the code, "" when unknown.
        seed: the seed of the run.
        told: what else is known of all rows, such as the model.

    Raises:
        ValueError: a row lacks its name or metrics, has a key of its own, or a figure is not
            finite.
    """
    for number, one in enumerate(rows):
        _check(number, one)
    page = {"rows": [dict(one) for one in rows], "commit": commit, "seed": seed}
    write_json(path, {**(told or {}), **page})


def _check(number: int, one: Mapping[str, Any]) -> None:
    if not {"name", "metrics"} <= set(one) <= KEYS:
        raise ValueError(
            f"row {number} has {sorted(one)}; it must have name and metrics, may have"
            f" {sorted(KEYS)}"
        )
    figures = {**one["metrics"], "seconds": one.get("seconds") or 0.0}
    figures |= {
        f"interval of {name}": sum(span) for name, span in (one.get("interval") or {}).items()
    }
    for name, value in figures.items():
        if not math.isfinite(value):
            raise ValueError(f"row {number} ({one['name']}): {name} is {value}")
