"""The rule that tests seed what they draw, on tests made up for it."""

import pathlib

pytest_plugins = ["pytester"]
CONFTEST = pathlib.Path(__file__).parent / "conftest.py"
CASES = """
import random
import numpy as np
import torch

def test_nothing(): pass
def test_own_generator(): np.random.default_rng(0).normal()
def test_seeded_torch():
    torch.manual_seed(3)
    torch.rand(1)
def test_seeded_numpy():
    np.random.seed(3)
    np.random.rand()
def test_given_back():
    state = random.getstate()
    random.random()
    random.setstate(state)
def test_draws_torch(): torch.rand(1)
def test_draws_numpy(): np.random.rand()
def test_draws_random(): random.random()
"""


def test_F28_a_test_that_draws_without_seeding_fails_and_no_other_does(pytester):
    text = CONFTEST.read_text().replace('pytest_plugins = ["training_fixtures"]', "")
    pytester.makeconftest(text)
    (pytester.path / "views").mkdir()
    (pytester.path / "views" / "test_cases_of_draws.py").write_text(CASES)
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
    done.assert_outcomes(passed=8, errors=3)
    done.stdout.fnmatch_lines(["*drew from the global generator of numpy without seeding it*"])
