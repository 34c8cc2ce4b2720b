"""Score: one figure, and how far a mean could be off because the queries are a sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArtefactError
from .archive import Provenance


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """One figure, what it rests on and how it was made.

    Args:
        name: as in a table, "map(100)".
        value: the figure, a share in 0..1.
        per_query: [Q] float64, NaN for a query that was not counted; None when the figure is no
            mean (GAP).
        protocol: how it came about. "protocol" is its name, "task" which of its questions and
            "definition" what is asked; "queries", "gallery" and "depth" are counts; "relevant",
            "camera_rule" and "self_match" say what is right and what is junk; "counted" and
            "skipped" or "without_answer" are queries, "denominator" says which the mean is over;
            "cut" tells of lists that end before the gallery does; "search", "engine", "exact", "recall",
            "rerank" and "fuse" how it was ranked; "tuned" whether the truth has chosen weights.
    """

    name: str
    value: float
    per_query: np.ndarray | None = None
    protocol: Provenance = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it but the single queries, as JSON values."""
        span = None if self.per_query is None else interval(self.per_query)
        return {
            "name": self.name,
            "value": float(self.value),
            "interval": None if span is None or np.isnan(span).any() else list(span),
            "protocol": dict(self.protocol),
        }


# What makes two figures of one name figures of two things.
PROTOCOL_KEYS = ("protocol", "task", "benchmark", "relevant", "camera_rule")


def name_protocol(protocol: Provenance) -> str:
    """The protocol of a score as messages call it: its name and its task, else the rule it is by."""
    parts = [protocol.get("protocol") or protocol.get("benchmark"), protocol.get("task")]
    named = ", ".join(str(part) for part in parts if part)
    rule = "; the same group is junk" if protocol.get("camera_rule") else ""
    return named or f"right: {protocol.get('relevant', 'not told')}{rule}"


def check_same_protocol(before: Score, after: Score) -> None:
    """Check that two scores may be compared. What one of them does not tell is not compared.

    Raises:
        ArtefactError: they are of different protocols; names both.
    """
    for key in PROTOCOL_KEYS:
        one, other = before.protocol.get(key), after.protocol.get(key)
        if one is not None and other is not None and one != other:
            names = [name_protocol(score.protocol) for score in (before, after)]
            raise ArtefactError(
                f"{before.name} is of the protocol {names[0]}, the other {after.name} of {names[1]}:"
                f" they differ in {key} ({one}; {other}) and cannot be compared"
            )


def describe_protocol(protocol: Provenance) -> list[str]:
    """How a score came about, in a few lines for people; what a protocol does not tell is left out.

    Args:
        protocol: of a `Score`.
    """
    lines = [
        _describe_name(protocol),
        _describe_sets(protocol),
        _describe_rule(protocol),
        _describe_search(protocol),
        _describe_recall(protocol),
    ]
    return [line for line in [*lines, protocol.get("cut"), protocol.get("tuned")] if line]


def _describe_name(protocol: Provenance) -> str:
    """The protocol's name, and what it asks."""
    if "protocol" not in protocol:
        return ""
    definition = protocol.get("definition", "")
    return f"protocol {name_protocol(protocol)}" + (f": {definition}" if definition else "")


def _describe_sets(protocol: Provenance) -> str:
    """How many queries and images there are, and which of them count."""
    if "queries" not in protocol:
        return ""
    left_out = protocol.get("skipped", protocol.get("without_answer", 0))
    counted = protocol.get("counted", protocol["queries"])
    return (
        f"{protocol['queries']} queries in a gallery of {protocol['gallery']}, lists of"
        f" {protocol['depth']}; counted are the {counted} {protocol.get('denominator', 'queries')}"
        + (f", {left_out} have none" if left_out else "")
    )


def _describe_rule(protocol: Provenance) -> str:
    """What is right, what is junk, and how equal scores stand."""
    if "relevant" not in protocol:
        return ""
    junk = ["the query itself"] if protocol.get("self_match") == "junk" else []
    junk += ["the same label in the same group"] if protocol.get("camera_rule") else []
    junk += [str(protocol["junk"])] if protocol.get("junk") else []
    itself = str(protocol.get("self_match", ""))
    why = f" ({itself.removeprefix('none: ')})" if itself.startswith("none: ") else ""
    ties = f"; ties {protocol['ties']}" if "ties" in protocol else ""
    return f"right: {protocol['relevant']}; junk: {', '.join(junk) or 'nothing'}{why}{ties}"


def _describe_search(protocol: Provenance) -> str:
    steps = [_join_calls(protocol.get(key)) for key in ("search", "rerank", "fuse")]
    return "ranked by " + ", then ".join(filter(None, steps)) if any(steps) else ""


def _join_calls(calls: Any) -> str:
    return ", ".join(map(str, calls)) if isinstance(calls, (list, tuple)) else str(calls or "")


def _describe_recall(protocol: Provenance) -> str:
    """How much of the exact answer an approximate search finds."""
    if protocol.get("exact") is not False:
        return ""
    told = protocol.get("recall")
    some = [one for one in (told if isinstance(told, (list, tuple)) else [told]) if one]
    parts = [
        f"{one['value']:.3f} of the {one['k']} nearest found, measured on {one['queries']} queries"
        for one in some
        if isinstance(one, Mapping) and isinstance(one.get("value"), float)
    ]
    engine = f" by {protocol['engine']}" if "engine" in protocol else ""
    return f"approximate search{engine}: " + ("; ".join(parts) or "its recall is not told")


def interval(
    per_query: np.ndarray, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of a mean: percentiles of the means of resampled queries.

    Args:
        per_query: [Q] values; NaN for a query that is not counted.
        seed: of the resampling; the same seed gives the same interval.
        draws: how often it is resampled.
        level: the share of the means inside.

    Returns:
        low and high end; NaN twice when nothing is counted.

    Source: Efron, Bootstrap methods: another look at the jackknife, 1979.
    """
    values = np.asarray(per_query, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
