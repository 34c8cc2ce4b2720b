"""The bootstrap interval of GAP against resampling whole lists in loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.metrics._gap_interval import gap_interval
from fastseek.metrics.gap import global_average_precision


def example(seed, queries=12):
    random = np.random.default_rng(seed)
    answered = np.flatnonzero(random.random(queries) < 0.8)
    answerable = random.random(queries) < 0.7
    answerable[0] = True
    right = answerable[answered] & (random.random(len(answered)) < 0.6)
    return random.integers(0, 5, len(answered)) / 4, right, answered, answerable


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_interval_is_that_of_copied_queries(seed):
    scores, right, answered, answerable = example(seed)
    random, values = np.random.default_rng(0), []
    for _ in range(40):
        drawn = random.integers(0, len(answerable), len(answerable))
        copies = sorted(
            (-scores[row], row) for query in drawn for row in np.flatnonzero(answered == query)
        )
        count = sum(answerable[query] for query in drawn)
        if count:
            found, total = 0, 0.0
            for rank, (_, row) in enumerate(copies, 1):
                found += right[row]
                total += right[row] * found / rank
            values.append(total / count)
    expected = np.quantile(values, [0.025, 0.975])
    assert gap_interval(scores, right, answered, answerable, answered, draws=40) == pytest.approx(
        tuple(expected)
    )


def test_the_figure_lies_inside_and_certainty_has_no_width():
    scores, right, answered, answerable = example(3, 200)
    low, high = gap_interval(scores, right, answered, answerable, answered)
    assert low < global_average_precision(scores, right, int(answerable.sum()), answered) < high
    ones = np.ones(5, bool)
    assert gap_interval(np.arange(5.0), ones, np.arange(5), ones) == (1.0, 1.0)


def test_without_any_answer_there_is_no_interval():
    assert np.isnan(
        gap_interval(np.ones(2), np.zeros(2, bool), np.arange(2), np.zeros(2, bool))
    ).all()
