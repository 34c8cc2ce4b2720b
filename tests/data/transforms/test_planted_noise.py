"""Planted noise: the same in every run, of the kinds and the share that were asked for."""

import numpy as np
import pytest
import torch

from fastseek.data import transforms  # noqa: F401
from fastseek.data.transforms import _noise_level
from fastseek.errors import UsageError
from fastseek.registry import TRANSFORMS, build
from toy import photo


def smooth(number):
    """A toy image without the noise it is drawn on."""
    return photo(number % 8, number, 32).resize((96, 96), 3)


def test_the_share_of_the_images_gets_noise_of_each_kind_equally_often():
    plant = build("planted_noise(share=0.6, sigma=(25, 40), impulses=(0.05, 0.1))", TRANSFORMS)
    photos = [smooth(number) for number in range(240)]
    made = [plant(one) for one in photos]
    changed = [
        not np.array_equal(np.array(one), np.array(other))
        for one, other in zip(photos, made, strict=True)
    ]
    assert 0.5 < np.mean(changed) < 0.7
    kinds = [
        _noise_level.measure(np.array(one)).kind
        for one, other in zip(made, changed, strict=True)
        if other
    ]
    counts = np.bincount(kinds, minlength=4)
    assert counts[0] <= 5 and (counts[1:] > 25).all()


def test_an_image_gets_the_same_noise_whatever_was_drawn_before_and_nothing_is_drawn_from_the_global_generator():
    plant, image = build("planted_noise(share=1.0)", TRANSFORMS), smooth(3)
    torch.manual_seed(1)
    first, after = np.array(plant(image)), torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == after
    assert (first == np.array(plant(image))).all()
    assert (first != np.array(build("planted_noise(share=1.0, seed=1)", TRANSFORMS)(image))).any()


def test_no_share_changes_nothing():
    image = smooth(5)
    assert (np.array(build("planted_noise(share=0.0)", TRANSFORMS)(image)) == np.array(image)).all()


@pytest.mark.parametrize(
    "call",
    ["planted_noise(share=1.5)", "planted_noise(sigma=(9, 1))", "planted_noise(impulses=(0, 2))"],
)
def test_a_share_or_range_that_cannot_be_is_refused(call):
    with pytest.raises(UsageError):
        build(call, TRANSFORMS)
