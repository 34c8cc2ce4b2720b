"""The figures of contests and benchmarks: worked examples, and twins that walk down every list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.metrics import evaluate
from fastseek.metrics._predictions import hits_of_lists, recognition_scores
from fastseek.metrics.map import Map
from fastseek.metrics.position import Position
from fastseek.metrics.precision import Precision
from fastseek.registry import METRICS, build
from fastseek.structures import GroundTruth, Ranking

CALLS = [
    "top1()",
    "precision(1, 4)",
    "position(5)",
    "revisited(1, 3)",
    "digix(k=5)",
    "digix(k=5, divisor='found')",
    "map_at_r()",
    "map(trapezoid=True)",
    "map(4, trapezoid=True)",
    "gap(ignore_empty=True)",
]


def case(seed, queries=6, gallery=18):
    """A truth with junk and with queries nothing answers, and scores without ties."""
    random = np.random.default_rng(seed)
    truth = GroundTruth.from_labels(
        [f"q{n}" for n in range(queries)],
        random.integers(0, 5, queries).astype(str),
        [f"g{n:02d}" for n in range(gallery)],
        random.integers(0, 4, gallery).astype(str),
        random.integers(0, 3, queries).astype(str),
        random.integers(0, 4, gallery).astype(str),
    )
    if not np.diff(truth.relevant_starts).any():
        return case(seed + 100_000, queries, gallery)
    return truth, random.permutation(queries * gallery).reshape(queries, gallery).astype(np.float32)


def ranked(truth, scores, depth=None):
    order = np.argsort(-scores, axis=1)[:, :depth]
    return Ranking(
        truth.query_ids, truth.gallery_ids, order, np.take_along_axis(scores, order, axis=1)
    )


def values(truth, scores, *calls):
    return {score.name: score.value for score in evaluate(ranked(truth, scores), truth, calls)}


def marks_of(truth, scores):
    """For every query with an answer: right (1) or wrong (0) down its list, junk left out."""
    ranking = ranked(truth, scores)
    return [
        [int(item in truth.relevant_to(query)) for item in row if item not in truth.junk_of(query)]
        for query, row in enumerate(ranking.indices)
        if len(truth.relevant_to(query))
    ]


def slow_revisited_ap(marks):
    """The area below precision against recall, one trapezoid a right image."""
    area, right = 0.0, 0
    for rank, mark in enumerate(marks):
        if mark:
            before = 1.0 if rank == 0 else right / rank
            right += 1
            area += (before + right / (rank + 1)) / 2
    return area / sum(marks)


def slow_revisited_precision(marks, k):
    last = max(place for place, mark in enumerate(marks, 1) if mark)
    depth = min(last, k)
    return sum(marks[:depth]) / depth


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([1, 3, 10]))
def test_the_figures_of_revisited_oxford_are_their_definitions(seed, k):
    """landmark row 55; finegrained row 19 and trap 18: AP by trapezoids."""
    truth, scores = case(seed)
    lists = marks_of(truth, scores)
    found = values(truth, scores, f"revisited({k})", "map(trapezoid=True)")
    assert found["revisited_map"] == pytest.approx(
        np.mean([slow_revisited_ap(marks) for marks in lists]), abs=1e-12
    )
    assert found["map(trapezoid=True)"] == found["revisited_map"]
    expected = np.mean([slow_revisited_precision(marks, k) for marks in lists])
    assert found[f"revisited_mp({k})"] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([1, 3, 10]))
def test_precision_position_and_top1_are_their_definitions(seed, k):
    """landmark row 54."""
    truth, scores = case(seed)
    lists = marks_of(truth, scores)
    found = values(truth, scores, f"precision({k})", f"position({k})", "top1()")
    firsts = [min(marks.index(1) + 1, k + 1) for marks in lists]
    assert found[f"precision({k})"] == pytest.approx(
        np.mean([sum(marks[:k]) / k for marks in lists])
    )
    assert found[f"position_mean({k})"] == pytest.approx(np.mean(firsts))
    assert found[f"position_median({k})"] == pytest.approx(np.median(firsts))
    assert found["top1"] == pytest.approx(np.mean([marks[0] for marks in lists]))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from(["relevant", "found"]))
def test_the_digix_score_is_its_definition(seed, divisor):
    """finegrained row 20; trap 18: what is divided by is a parameter."""
    truth, scores = case(seed)
    expected = []
    for marks in marks_of(truth, scores):
        precisions = [
            sum(marks[:place]) / place for place in range(1, 6) if marks[place - 1 : place] == [1]
        ]
        divide_by = min(sum(marks), 5) if divisor == "relevant" else max(len(precisions), 1)
        expected.append(0.5 * marks[0] + 0.5 * sum(precisions) / divide_by)
    found = values(truth, scores, f"digix(k=5, divisor={divisor!r})")
    assert found["digix"] == pytest.approx(np.mean(expected), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100_000))
def test_map_at_r_is_its_definition(seed):
    truth, scores = case(seed)
    expected = []
    for marks in marks_of(truth, scores):
        total = sum(marks)
        expected.append(
            sum(sum(marks[:place]) / place for place in range(1, total + 1) if marks[place - 1])
            / total
        )
    assert values(truth, scores, "map_at_r()")["map_at_r"] == pytest.approx(
        np.mean(expected), abs=1e-12
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100_000))
def test_gap_without_empty_queries_is_gap_of_the_others_alone(seed):
    """landmark row 52."""
    truth, scores = case(seed)
    rows = np.flatnonzero(np.diff(truth.relevant_starts) > 0)
    lists = [
        (np.cumsum([0, *map(len, part)]), np.concatenate(part))
        for part in ([truth.relevant_to(row) for row in rows], [truth.junk_of(row) for row in rows])
    ]
    alone = GroundTruth(
        truth.query_ids[rows],
        truth.gallery_ids,
        *lists[0],
        *lists[1],
        truth.query_labels[rows],
        truth.gallery_labels,
    )
    expected = values(alone, scores[rows], "gap()")["gap"]
    assert values(truth, scores, "gap(ignore_empty=True)")[
        "gap(ignore_empty=True)"
    ] == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000))
def test_a_monotone_change_of_scores_moves_no_contest_figure(seed):
    truth, scores = case(seed)
    assert values(truth, scores, *CALLS) == values(truth, np.sqrt(scores) - 7, *CALLS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000), st.integers(-1, 200))
def test_an_irrelevant_image_never_raises_a_contest_average_precision(seed, score):
    truth, scores = case(seed)
    more = GroundTruth(
        truth.query_ids,
        [*truth.gallery_ids, "zz"],
        truth.relevant_starts,
        truth.relevant,
        truth.junk_starts,
        truth.junk,
        truth.query_labels,
        [*truth.gallery_labels, "other"],
    )
    wider = np.concatenate([scores, np.full((len(scores), 1), score + 0.5, np.float32)], axis=1)
    calls = ("revisited()", "digix()", "map_at_r()", "map(4, trapezoid=True)")
    less, after = values(truth, scores, *calls), values(more, wider, *calls)
    for name in ("revisited_map", "digix", "map_at_r", "map(4, trapezoid=True)"):
        assert after[name] <= less[name] + 1e-12


def test_everything_is_one_for_a_perfect_ranking():
    truth = GroundTruth.from_labels(list("pq"), list("ab"), list("vwxyz"), list("aabbb"))
    scores = np.array([[5, 4, 3, 2, 1], [0, 1, 9, 8, 7]], np.float32)
    found = values(
        truth,
        scores,
        "top1()",
        "precision(1)",
        "position(5)",
        "revisited(1, 10)",
        "digix()",
        "map_at_r()",
    )
    assert set(found.values()) == {1.0}


def test_precision_at_ten_is_one_when_two_right_images_stand_on_top():
    """landmark row 55."""
    truth = GroundTruth.from_labels(["q"], ["a"], list("abcdefghijkl"), ["a", "a", *"bcdefghijk"])
    found = values(truth, -np.arange(12, dtype=np.float32)[None], "revisited(10)", "precision(10)")
    assert found["revisited_mp(10)"] == 1.0
    assert found["precision(10)"] == pytest.approx(0.2)


def test_a_query_whose_right_images_are_nowhere_in_the_list_scores_nothing():
    """landmark row 55."""
    truth = GroundTruth.from_labels(["p", "q"], ["a", "b"], list("wxyz"), list("abcc"))
    scores = np.array([[9, 1, 2, 3], [9, 1, 2, 3]], np.float32)
    found = {
        score.name: score.value
        for score in evaluate(ranked(truth, scores, depth=2), truth, ["revisited(2)"])
    }
    assert found == {"revisited_map": 0.5, "revisited_mp(2)": 0.5}


@pytest.mark.parametrize(
    "call", ["precision(7)", "position(7)", "revisited(7)", "digix(7)", "map_at_r()"]
)
def test_lists_too_short_for_a_contest_figure_are_refused(call):
    truth = GroundTruth.from_labels(
        ["q"], ["a"], [f"g{n}" for n in range(9)], ["a"] * 7 + ["b"] * 2
    )
    with pytest.raises(ArtefactError, match="has 4.*k=7"):
        evaluate(ranked(truth, np.arange(9, dtype=np.float32)[None], depth=4), truth, [call])


@pytest.mark.parametrize(
    "call",
    [
        "precision()",
        "position(0)",
        "digix(divisor='k')",
        "revisited(0)",
        "gap('yes')",
        "map_at_r(3)",
        "digix(k=2.5)",
    ],
)
def test_impossible_contest_calls_are_refused(call):
    with pytest.raises(UsageError):
        build(call, METRICS)


# The example every implementer of the Google Landmarks figures can check: four queries, one without
# a prediction.
RIGHT = [[0, 1], [0], [2, 3, 4], [2]]
ANSWERS = [[], [9, 0], [3], [2, 3]]


def lists_of(answers, right):
    return hits_of_lists(
        *[[[str(item) for item in row] for row in rows] for rows in (answers, right)], {}
    )


def test_the_worked_retrieval_example_of_google_landmarks():
    """landmark row 59."""
    hits = lists_of(ANSWERS, RIGHT)
    assert Map(100).score(hits)[0].value == pytest.approx(0.458333, abs=1e-6)
    assert Map(1).score(hits)[0].value == pytest.approx(0.5)
    assert [score.value for score in Precision(1, 2).score(hits)] == pytest.approx([0.5, 0.375])
    assert [score.value for score in Position(100).score(hits)] == pytest.approx([26.25, 1.5])
    assert [score.value for score in Position(1).score(hits)] == pytest.approx([1.5, 1.5])


def test_the_worked_recognition_example_of_google_landmarks():
    """landmark row 59."""
    # Queries 0..4 show {0, 12}, {100, 200, 300}, {1}, nothing, nothing; 1, 2 and 3 are answered 0,
    # 1 and 150.
    scores = recognition_scores(
        np.array(["1", "2", "3"]),
        np.array([0, 1, 150]),
        np.array([0.01, 10.0, 15.0]),
        np.array([False, True, False]),
        np.array([1, 2, 3]),
        np.array([True, True, True, False, False]),
        {},
    )
    assert {score.name: score.value for score in scores} == pytest.approx(
        {"gap": 1 / 6, "gap(ignore_empty=True)": 1 / 3, "top1": 1 / 3}
    )
    assert scores[2].protocol["without_answer"] == 2


def slow_list_ap(answers, right, k):
    seen, found, total = set(), 0, 0.0
    for place, item in enumerate(answers[:k], 1):
        if item in right and item not in seen:
            found += 1
            total += found / place
        seen.add(item)
    return total / min(len(right), k)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(-1, 6), max_size=9), st.sets(st.integers(0, 6), min_size=1)),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([1, 2, 5, 100]),
)
def test_repeated_answers_take_up_their_place_and_count_once(rows, k):
    """landmark row 53."""
    answers, right = [row[0] for row in rows], [sorted(row[1]) for row in rows]
    hits = lists_of(answers, right)
    expected = [slow_list_ap(some, known, k) for some, known in zip(answers, right, strict=True)]
    assert Map(k).score(hits)[0].per_query == pytest.approx(expected)
    firsts = [
        next((place for place, item in enumerate(some[:k], 1) if item in known), k + 1)
        for some, known in zip(answers, right, strict=True)
    ]
    assert Position(k).score(hits)[0].per_query == pytest.approx(firsts)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([0.0, 0.5, 1.0, -2.0]),
            st.sampled_from([None, 0, 1, 3]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_gap_of_single_predictions_is_its_definition(rows):
    """landmark row 52."""
    ids = np.array([f"q{n:02d}" for n in range(len(rows))])
    labels, scores = (np.array([row[at] for row in rows]) for at in (0, 1))
    answerable = np.array([row[2] is not None for row in rows])
    right = np.array([row[0] == row[2] for row in rows])
    if not answerable.any():
        with pytest.raises(DataError, match="none of the"):
            recognition_scores(ids, labels, scores, right, np.arange(len(rows)), answerable, {})
        return
    found = {
        score.name: score.value
        for score in recognition_scores(
            ids, labels, scores, right, np.arange(len(rows)), answerable, {}
        )
    }
    for name, kept in (("gap", [True] * len(rows)), ("gap(ignore_empty=True)", answerable)):
        order = sorted(
            (n for n in range(len(rows)) if kept[n]), key=lambda n: (-scores[n], ids[n], labels[n])
        )
        good, total = 0, 0.0
        for rank, number in enumerate(order, 1):
            good += right[number]
            total += right[number] * good / rank
        assert found[name] == pytest.approx(total / answerable.sum())
    assert found["top1"] == pytest.approx(right[answerable].mean())


def test_the_order_of_predictions_changes_no_figure():
    random = np.random.default_rng(0)
    ids, labels = np.array([f"q{n:03d}" for n in range(200)]), random.integers(0, 9, 200)
    scores, right = random.integers(0, 5, 200) / 4, random.random(200) < 0.5
    answerable = np.ones(200, bool)
    order = random.permutation(200)
    one = recognition_scores(ids, labels, scores, right, np.arange(200), answerable, {})
    other = recognition_scores(
        ids[order], labels[order], scores[order], right[order], order, answerable, {}
    )
    assert [score.value for score in one] == [score.value for score in other]
