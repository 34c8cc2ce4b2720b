import math

import pytest

from fastseek import schedules  # noqa: F401
from fastseek.errors import UsageError
from fastseek.registry import SCHEDULES, build

ITERS = 7


def made(call, iters=ITERS, epochs=120):
    return build(call, SCHEDULES, iters_per_epoch=iters, max_epoch=epochs, base_lr=3.5e-4)


def by_epoch(call, epochs, iters=ITERS):
    """factor[e], e from 1; every step of an epoch must have it."""
    schedule = made(call, iters, epochs)
    factors = {}
    for epoch in range(1, epochs + 1):
        found = {schedule.factor((epoch - 1) * iters + step) for step in range(iters)}
        assert len(found) == 1
        factors[epoch] = found.pop()
    return factors


def test_the_paper_rises_in_tenths_and_drops_after_epochs_40_and_70():
    """finegrained row 4, trap 1."""
    rate = {
        epoch: 3.5e-4 * factor
        for epoch, factor in by_epoch("warmup_steps(preset='paper')", 120).items()
    }
    assert rate[1] == pytest.approx(3.5e-5) and rate[5] == pytest.approx(1.75e-4)
    assert rate[10] == rate[11] == rate[40] == pytest.approx(3.5e-4)
    assert rate[41] == rate[70] == pytest.approx(3.5e-5) and rate[71] == rate[120] == pytest.approx(
        3.5e-6
    )


def test_the_repository_rises_from_a_hundredth_and_drops_in_epochs_40_and_70():
    """finegrained row 4, trap 1."""
    factor = by_epoch("warmup_steps(preset='repo')", 120)
    for epoch in range(1, 121):
        warm = 0.01 * (1 - epoch / 10) + epoch / 10 if epoch < 10 else 1
        assert factor[epoch] == pytest.approx(
            warm * 0.1 ** ((epoch >= 40) + (epoch >= 70)), rel=1e-12
        )
    assert (
        factor[1] == pytest.approx(0.109) and factor[39] == 1 and factor[40] == pytest.approx(0.1)
    )


def test_digix_rises_from_zero_by_iterations_and_then_shrinks_every_iteration():
    """finegrained row 4, trap 11: its minimum is subtracted and never added, and the epoch plays no
    part.
    """
    schedule = made("warmup_steps(preset='digix', minimum=0.1)", iters=387)
    rate, expected = 0.0, []
    for step in range(2100):
        rate = 0.9 / 2000 * step if step < 2000 else rate * 0.99998
        expected.append(rate)
    assert [schedule.factor(step) for step in range(2100)] == pytest.approx(expected, rel=1e-9)
    whole = made("warmup_steps(preset='digix')", iters=387)
    assert whole.factor(300 * 387 - 1) == pytest.approx(0.1, rel=0.1), "ends at about a tenth"


def test_presets_scale_to_short_trainings():
    factor = by_epoch("warmup_steps(preset='paper', epochs=2, milestones=(4, 6), gamma=0.5)", 8)
    assert list(factor.values()) == [0.5, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    factor = by_epoch("warmup_steps(preset='repo', epochs=0, milestones=(2,), gamma=0.2)", 3)
    assert list(factor.values()) == pytest.approx([1, 0.2, 0.2])
    assert [
        made("warmup_steps('digix', iterations=4, gamma=0.5)").factor(step) for step in range(6)
    ] == [0, 0.25, 0.5, 0.75, 0.375, 0.1875]


@pytest.mark.parametrize("preset", ["paper", "repo"])
def test_a_warmup_by_step_meets_the_one_by_epoch_at_the_end_of_every_epoch(preset):
    """landmark row 33."""
    step, epoch = (made(f"warmup_steps({preset!r}, by={by!r})") for by in ("step", "epoch"))
    ends = range(ITERS - 1, 120 * ITERS, ITERS)
    assert [step.factor(end) for end in ends] == pytest.approx([epoch.factor(end) for end in ends])
    warm = [step.factor(one) for one in range(9 * ITERS)]
    assert all(low < high for low, high in zip(warm, warm[1:], strict=False))


def test_the_cosine_rises_for_an_epoch_and_then_falls_to_its_end():
    """landmark row 33: one warm-up epoch, by steps, then cosine."""
    schedule = made("warmup_cosine(epochs=1, end=0.1)", epochs=11)
    assert [schedule.factor(step) for step in range(ITERS)] == pytest.approx(
        [step / ITERS for step in range(ITERS)]
    )
    assert schedule.factor(ITERS) == 1 and schedule.factor(6 * ITERS) == pytest.approx(0.55)
    assert schedule.factor(11 * ITERS) == pytest.approx(0.1)
    tail = [schedule.factor(step) for step in range(ITERS, 11 * ITERS)]
    assert all(high > low for high, low in zip(tail, tail[1:], strict=False))


def test_the_tenfold_form_is_torchs_cosine_over_the_epochs_after_the_first():
    """landmark 4.2: from lr to ten times lr in the first epoch, then T = epochs - 1 to 0."""
    factor = by_epoch("warmup_cosine(start=1, peak=10, by='epoch')", 10)
    assert factor[1] == 1
    for epoch in range(2, 11):
        assert factor[epoch] == pytest.approx(5 * (1 + math.cos(math.pi * (epoch - 2) / 9)))
    stepwise = made("warmup_cosine(start=1, peak=10)", epochs=10)
    assert stepwise.factor(0) == 1 and stepwise.factor(ITERS - 1) == pytest.approx(1 + 9 * 6 / 7)
    assert stepwise.factor(ITERS) == 10


def test_without_warmup_the_cosine_starts_at_its_peak_and_a_training_within_the_warmup_only_rises():
    assert made("warmup_cosine(epochs=0)", epochs=3).factor(0) == 1
    rising = [made("warmup_cosine(epochs=2)", epochs=1).factor(step) for step in range(ITERS)]
    assert rising == pytest.approx([step / 14 for step in range(ITERS)])


def test_pieces_hold_up_to_and_in_the_epoch_they_name():
    stairs = ", ".join(f"({last}, {(last // 5 + 1) / 10})" for last in range(4, 50, 5))
    factor = by_epoch(f"piecewise(({stairs}, (200, 1.0), (300, 0.1), (400, 0.01)))", 450)
    for epoch in range(1, 450):
        expected = (
            (epoch // 5 + 1) / 10
            if epoch < 50
            else 1
            if epoch <= 200
            else 0.1
            if epoch <= 300
            else 0.01
        )
        assert factor[epoch] == pytest.approx(expected)


@pytest.mark.parametrize(
    "call",
    [
        "warmup_steps('paper')",
        "warmup_steps('repo', by='step')",
        "warmup_steps('digix', iterations=30)",
        "warmup_cosine()",
        "warmup_cosine(epochs=0.5, by='epoch')",
        "piecewise(((3, 0.1), (5, 1.0)))",
    ],
)
def test_a_factor_depends_on_the_step_alone(call):
    schedule = made(call, epochs=8)
    forth = [schedule.factor(step) for step in range(8 * ITERS)]
    assert [schedule.factor(step) for step in reversed(range(8 * ITERS))] == forth[::-1]
    assert all(factor >= 0 for factor in forth) and all(corner >= 0 for corner in schedule.corners)


@pytest.mark.parametrize(
    "call, told",
    [
        ("warmup_steps('papers')", "paper"),
        ("warmup_steps('digix', epochs=3)", "has no epochs"),
        ("warmup_steps('paper', iterations=3)", "has no iterations"),
        ("warmup_steps(gamma=0)", "gamma"),
        ("warmup_steps(milestones=(4.5,))", "whole numbers"),
        ("warmup_steps(by='batch')", "by"),
        ("warmup_cosine(peak=0)", "peak"),
        ("warmup_cosine(by='batch')", "expected one of"),
        ("warmup_cosine(max_epoch=3)", "cannot be set by a recipe"),
        ("piecewise(())", "pairs"),
        ("piecewise(((5, 1.0), (5, 0.1)))", "rise"),
        ("piecewise(((5, -1.0),))", "negative"),
    ],
)
def test_impossible_settings_are_refused_with_what_is_legal(call, told):
    with pytest.raises(UsageError, match=told):
        made(call)
