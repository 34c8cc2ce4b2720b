"""Marks, ranks, order and choice of the queries, against slow twins."""

import numpy as np
import pytest

from fastseek.report.classes import class_rows, first_answers
from fastseek.report.query_cases import case, pick, worst_first
from fastseek.structures import GroundTruth, Ranking


def drawn(seed, queries=12, gallery=20, depth=9, groups=3):
    random = np.random.default_rng(seed)
    q_labels, g_labels = (
        random.integers(0, 5, queries).astype(str),
        random.integers(0, 4, gallery).astype(str),
    )
    q_groups, g_groups = (
        random.integers(0, groups, count).astype(str) for count in (queries, gallery)
    )
    q_ids, g_ids = [f"q{n}" for n in range(queries)], [f"g{n}" for n in range(gallery)]
    truth = GroundTruth.from_labels(q_ids, q_labels, g_ids, g_labels, q_groups, g_groups)
    scores = random.random((queries, gallery)).astype(np.float32)
    order = np.argsort(-scores, axis=1)[:, :depth]
    return Ranking(q_ids, g_ids, order, np.take_along_axis(scores, order, 1)), truth


def slow_marks(ranking, truth, row):
    right, junk, rank, told = set(truth.relevant_to(row)), set(truth.junk_of(row)), 0, []
    for index in ranking.indices[row]:
        rank += index not in junk
        told.append(
            (
                int(index),
                "junk" if index in junk else "right" if index in right else "wrong",
                None if index in junk else rank,
            )
        )
    return told


@pytest.mark.parametrize("seed", range(20))
def test_cases_agree_with_a_slow_twin(seed):
    ranking, truth = drawn(seed)
    states, taken_for = first_answers(ranking, truth)
    for row in range(len(ranking.query_ids)):
        told, depth = slow_marks(ranking, truth, row), 4
        made = case(ranking, truth, row, depth)
        assert [(hit.row, hit.mark, hit.rank) for hit in made.hits] == told[:depth]
        counted = [mark for _, mark, _ in told if mark != "junk"]
        first = "open" if not len(truth.relevant_to(row)) else counted[0] if counted else "wrong"
        assert made.first == first == states[row]
        assert made.found == sum(mark == "right" for _, mark, _ in told[:depth])
        below = [(index, rank) for index, mark, rank in told[depth:] if mark == "right"]
        absent = [
            (index, None) for index in truth.relevant_to(row) if index not in ranking.indices[row]
        ]
        missed = (
            (below + absent)[0]
            if (below + absent) and "wrong" in [mark for _, mark, _ in told[:depth]]
            else None
        )
        assert (made.missed and (made.missed.row, made.missed.rank)) == missed
        wrong = (
            next(index for index, mark, _ in told if mark != "junk")
            if first == "wrong" and counted
            else None
        )
        assert taken_for[row] == ("" if wrong is None else truth.gallery_labels[wrong])


def test_among_equals_the_surest_mistake_stands_first_then_the_id():
    ids = ["d", "c", "b", "a", "e"]
    scores = np.array([[0.5], [0.9], [0.9], [0.99], [0.1]], np.float32)
    ranking = Ranking(ids, ["g"], np.zeros((5, 1), int), scores)
    order = worst_first(
        np.array([0.0, 0.0, 0.0, 0.0, np.nan]),
        ranking,
        ["wrong", "wrong", "wrong", "right", "open"],
    )
    assert [ids[row] for row in order] == ["b", "c", "d", "a", "e"]


@pytest.mark.parametrize(
    ("total", "count"), [(5, 10), (10, 10), (11, 10), (1001, 200), (7, 1), (3, 0)]
)
def test_picked_are_the_worst_and_a_spread_in_order_without_repeats(total, count):
    order = np.random.default_rng(0).permutation(total)
    chosen = pick(order, count)
    assert len(chosen) == min(total, count) == len(set(chosen))
    places = [list(order).index(row) for row in chosen]
    assert places == sorted(places)
    if total > count > 1:
        assert (
            places[: round(0.6 * count)] == list(range(round(0.6 * count)))
            and places[-1] == total - 1
        )


def test_class_rows_are_means_over_counted_queries():
    labels = np.array(["b", "a", "b", "", "a"])
    values = np.array([0.5, 0.2, np.nan, 0.9, 0.4])
    rows = class_rows(
        labels, values, ["right", "wrong", "open", "right", "wrong"], ["", "y", "", "", "x"]
    )
    assert [
        (row.label, row.queries, round(row.value, 6), row.first, row.confused, row.times)
        for row in rows
    ] == [("a", 2, 0.3, 0.0, "x", 1), ("b", 1, 0.5, 1.0, "", 0)]
