"""Values that several readers understand alike."""

import pytest

from fastseek.config import edits
from fastseek.config.plugins import register
from fastseek.config.solver_values import Expectation, parse_expectation
from fastseek.errors import UsageError
from fastseek.training.results import expectations

from fastreid.config import get_cfg


@pytest.mark.parametrize("sign", ["+-", "+/-", "±"])
def test_F17_an_expectation_has_one_grammar(sign):
    line = f" map(100) 61.2 {sign} 0.5 "
    assert parse_expectation(line) == Expectation("map(100)", 61.2, 0.5)
    assert expectations([line]) == [parse_expectation(line)]


@pytest.mark.parametrize("line", ["map 6.1.2 +- 1", "map 61.2", "61.2 +- 1", "map x +- 1", 3, ""])
def test_F17_what_is_no_expectation_is_refused_by_all_its_readers(line):
    for read in (parse_expectation, lambda one: expectations([one])):
        with pytest.raises(UsageError, match="SEEK.EXPECT"):
            read(line)


def test_other_values_make_another_recipe_and_leave_the_first_as_it_was():
    cfg = get_cfg()
    register(cfg)
    cfg.freeze()
    made = edits.replace_values(cfg, {"SEED": 3, "SOLVER.AMP.ENABLED": not cfg.SOLVER.AMP.ENABLED})
    assert (made.SEED, cfg.SEED) == (3, 0) and made.is_frozen()
    assert made.SOLVER.AMP.ENABLED != cfg.SOLVER.AMP.ENABLED
    assert (
        edits.replace_values(made, {"SEED": 0, "SOLVER.AMP.ENABLED": cfg.SOLVER.AMP.ENABLED}) == cfg
    )
    with pytest.raises(KeyError, match="SOLVER.LR"):
        edits.replace_values(cfg, {"SOLVER.LR": 1})
