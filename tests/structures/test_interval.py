import numpy as np

from fastseek.structures import interval


def test_the_interval_holds_the_mean_and_repeats_with_its_seed():
    values = np.random.default_rng(0).random(200)
    low, high = interval(values, seed=1)
    assert low < values.mean() < high
    assert (low, high) == interval(values, seed=1) != interval(values, seed=2)


def test_the_interval_is_about_two_standard_errors_to_each_side():
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values, draws=2000)
    error = values.std() / np.sqrt(400)
    assert 3.4 * error < high - low < 4.4 * error


def test_queries_that_are_not_counted_do_not_matter():
    values = np.random.default_rng(0).random(50)
    assert interval(np.concatenate([values, np.full(9, np.nan)])) == interval(values)


def test_equal_values_leave_no_doubt_and_no_values_no_answer():
    assert interval(np.full(9, 0.25)) == (0.25, 0.25)
    assert np.isnan(interval(np.full(3, np.nan))).all()
