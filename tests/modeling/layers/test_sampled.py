import pytest
import torch

from fastseek.modeling.layers.sampled import Sampled

TARGETS = torch.tensor([7, 0, 7, 19])


def test_own_classes_are_always_chosen_and_keep_their_number():
    """landmark row 32."""
    chosen, places = Sampled(20, 0.3, 0)(TARGETS)
    assert len(chosen) == 6 and (chosen.diff() > 0).all()
    assert torch.equal(chosen[places], TARGETS)


def test_the_draw_is_a_function_of_seed_and_step():
    """landmark row 32."""
    draw = {}
    for seed in (0, 1):
        for step in (0, 1, 2):
            sampled = Sampled(500, 0.1, seed)
            sampled.step = step
            draw[seed, step] = tuple(sampled(TARGETS)[0].tolist())
            assert tuple(sampled(TARGETS)[0].tolist()) == draw[seed, step]
    assert len(set(draw.values())) == 6


def test_processes_with_other_targets_draw_the_same_others():
    one, other = (
        set(Sampled(1000, 0.1, 3)(targets)[0].tolist()) for targets in (TARGETS, TARGETS + 30)
    )
    assert len(one & other) >= 100 - 2 * len(TARGETS)


def test_every_class_is_drawn_now_and_then():
    sampled, seen = Sampled(50, 0.2, 0), set()
    for step in range(60):
        sampled.step = step
        seen |= set(sampled(TARGETS)[0].tolist())
    assert seen == set(range(50))


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    Sampled(50, 0.2, 0)(TARGETS)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_larger_than_the_share_still_fits():
    chosen, places = Sampled(20, 0.05, 0)(torch.arange(20))
    assert torch.equal(chosen, torch.arange(20)) and torch.equal(places, torch.arange(20))


@pytest.mark.parametrize("target", [-1, 20])
def test_a_target_that_is_no_class_is_an_error(target):
    with pytest.raises(RuntimeError):
        Sampled(20, 0.3, 0)(torch.tensor([target]))


@pytest.mark.parametrize("share", [0, -0.1, 1.5, True, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        Sampled(20, share, 0)
