"""Rows of several runs that differ in their seed, as the rows of one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from .one_protocol import check_one_protocol

Row = Mapping[str, Any]
SPREAD = " spread"  # ends the name of a standard deviation over trainings


def join_runs(runs: Sequence[Sequence[Row]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Average rows of one name over the runs, with the spread between them.

    Args:
        runs: the rows of each run's results.json.

    Returns:
        the rows that stand in all runs, in the order of the first run: every metric its mean, beside it
        "<metric> spread" (standard deviation over the runs, n - 1), the means of the ends of its intervals, and
        the seconds of all runs together; and the names of the rows that some run lacks.

    Raises:
        DataError: fewer than two runs, a name stands twice in one, or a row has other metrics in another run.
        ArtefactError: a row is of another protocol in another run.
    """
    if len(runs) < 2:
        raise DataError(f"{len(runs)} runs: two or more are needed to tell their spread")
    by_name = [_by_name(rows) for rows in runs]
    everywhere = [name for name in by_name[0] if all(name in rows for rows in by_name)]
    found = dict.fromkeys(name for rows in by_name for name in rows)
    missing = [name for name in found if name not in everywhere]
    return [_join(name, [rows[name] for rows in by_name]) for name in everywhere], missing


def _by_name(rows: Iterable[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if row["name"] in found:
            raise DataError(f"row {row['name']!r} stands twice in one run")
        found[row["name"]] = row
    return found


def _join(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    check_one_protocol(rows)
    metrics: dict[str, float] = {}
    for metric in rows[0]["metrics"]:
        values = [row["metrics"].get(metric, math.nan) for row in rows]
        if np.isnan(values).any():
            raise DataError(f"row {name!r} has {metric} in some runs only")
        metrics[metric] = float(np.mean(values))
        metrics[f"{metric}{SPREAD}"] = float(np.std(values, ddof=1))
    seconds = sum(row.get("seconds") or 0.0 for row in rows)
    joined: dict[str, Any] = {"name": name, "metrics": metrics, "seconds": round(seconds, 3)}
    if "protocol" in rows[0]:
        joined["protocol"] = rows[0]["protocol"]
    spans = [row.get("interval") or {} for row in rows]
    shared = [metric for metric in metrics if all(metric in span for span in spans)]
    if shared:
        joined["interval"] = {metric: _mean_interval(metric, spans) for metric in shared}
    return joined


def _mean_interval(metric: str, spans: Sequence[Mapping[str, Sequence[float]]]) -> list[float]:
    return [float(np.mean([span[metric][end] for span in spans])) for end in (0, 1)]
