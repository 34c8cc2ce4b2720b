"""Two-stage training on a long tail: large classes under-sampled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseek.data import samplers  # noqa: F401  (fills the registry)
from fastseek.errors import UsageError
from fastseek.registry import SAMPLERS, build


def made(call, sizes, batch_size=4, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return labels, build(
        call,
        SAMPLERS,
        labels=labels,
        groups=np.zeros_like(labels),
        batch_size=batch_size,
        world_size=1,
        seed=seed,
    )


@given(st.lists(st.integers(1, 30), min_size=4, max_size=12), st.integers(1, 20), st.integers(0, 5))
def test_no_class_gives_more_than_the_cap_and_small_ones_give_all(sizes, cap, epoch):
    """finegrained row 52."""
    labels, sampler = made(f"capped(cap={cap})", sizes, batch_size=1)
    rows = sampler.epoch(epoch).reshape(-1)
    assert len(set(rows)) == len(rows)
    assert (
        np.bincount(labels[rows], minlength=len(sizes)).tolist() == np.minimum(sizes, cap).tolist()
    )


def test_the_cap_is_the_median_class_when_not_said():
    _, sampler = made("capped()", [1, 5, 9, 9, 40])
    assert sampler.cap == 9 and sampler.batches == len(sampler.epoch(3)) == (1 + 5 + 9 + 9 + 9) // 4


def test_other_images_of_a_large_class_come_in_other_epochs():
    _, sampler = made("capped(cap=5)", [50, 5, 5, 5])
    seen = {int(row) for epoch in range(30) for row in sampler.epoch(epoch).reshape(-1)}
    assert len(seen) > 55 and (sampler.epoch(2) == sampler.epoch(2)).all()
    assert (sampler.epoch(2) != sampler.epoch(3)).any()


def test_what_is_drawn_goes_through_the_other_sampler():
    labels, sampler = made("capped(cap=6, of='pk(k=3)')", [30, 6, 6, 9], batch_size=6)
    for batch in sampler.epoch(1):
        assert sorted(np.bincount(labels[batch]).tolist())[-2:] == [3, 3]


@pytest.mark.parametrize(
    "call", ["capped(cap=0)", "capped(cap='mean')", "capped(cap=1, of='pk(k=5)')"]
)
def test_a_cap_or_a_sampler_that_cannot_be_is_refused(call):
    with pytest.raises(UsageError):
        made(call, [3, 3, 3])
