"""How every class fares."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from ..structures import GroundTruth, Ranking
from .query_cases import first_answer, mark_hits


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """One line of the class table.

    Args:
        label: the class.
        queries: how many of its queries were counted.
        value: the mean of the figure the page is ordered by.
        first: share of its queries whose first answer is right.
        confused: the wrong label that stands first most often, "" when none does.
        times: how often.
    """

    label: str
    queries: int
    value: float
    first: float
    confused: str
    times: int


def first_answers(ranking: Ranking, truth: GroundTruth) -> tuple[list[str], list[str]]:
    """For every query: "right", "wrong" or "open", and the label of a wrong first answer (""
    otherwise).
    """
    states, taken_for = [], []
    for row in range(len(ranking.query_ids)):
        first = next((hit for hit in mark_hits(ranking, truth, row) if hit.mark != "junk"), None)
        state = first_answer([first] if first else [], truth.relevant_to(row))
        states.append(state)
        taken_for.append(str(truth.gallery_labels[first.row]) if first and state == "wrong" else "")
    return states, taken_for


def class_rows(
    labels: np.ndarray, values: np.ndarray, states: list[str], taken_for: list[str]
) -> list[ClassRow]:
    """One row a class, the worst first, then by name.

    Args:
        labels: [Q] class of every query; queries without a class ("") are left out.
        values: [Q] the figure, NaN where a query was not counted.
        states, taken_for: what `first_answers` gives.
    """
    members: dict[str, list[int]] = collections.defaultdict(list)
    for row, label in enumerate(labels):
        if label and not np.isnan(values[row]):
            members[str(label)].append(row)
    rows = [_row(label, mine, values, states, taken_for) for label, mine in members.items()]
    return sorted(rows, key=lambda row: (row.value, row.label))


def _row(
    label: str, mine: list[int], values: np.ndarray, states: list[str], taken_for: list[str]
) -> ClassRow:
    wrong = collections.Counter(taken_for[row] for row in mine if taken_for[row])
    confused, times = min(wrong.items(), key=lambda pair: (-pair[1], pair[0]), default=("", 0))
    first = sum(states[row] == "right" for row in mine) / len(mine)
    return ClassRow(label, len(mine), float(np.mean(values[mine])), first, confused, times)
