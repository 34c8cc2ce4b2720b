"""KEY VALUE changes of a plan of rounds: its seed."""

import dataclasses

import pytest

from fastseek.errors import UsageError
from fastseek.workflows.self_training.run import _with_seed
from fastseek.workflows.self_training.spec import read_rounds


@pytest.fixture(scope="module")
def plan():
    return read_rounds("projects/SemiINat2021/plans/small.yml")


def test_a_seed_among_the_changes_is_the_plans_and_nothing_else_changes(plan):
    changed = _with_seed(plan, ["SOLVER.MAX_EPOCH", "1", "SEED", "2"])
    assert changed == dataclasses.replace(plan, seed=2)
    assert _with_seed(plan, ["SOLVER.MAX_EPOCH", "1"]) is plan


@pytest.mark.parametrize("value", ["-1", "two", "1.5"])
def test_a_seed_that_is_no_whole_number_is_refused(plan, value):
    with pytest.raises(UsageError, match=f"SEED {value}: a whole number of 0 or more"):
        _with_seed(plan, ["SEED", value])
