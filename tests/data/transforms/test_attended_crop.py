"""The crop that follows the network's attention, as a transform."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastseek.data.transforms.attended_crop import AttendedCrop
from fastseek.errors import UsageError
from fastseek.registry import TRANSFORMS, build

SHARES = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2, unique=True).map(sorted)


def ramp(width, height):
    """Red tells the column, green the row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return Image.fromarray(pixels)


def photo(row, width=60, height=40):
    image = ramp(width, height)
    image.info["row"] = row
    return image


def test_the_window_of_the_images_own_row_is_cut_out():
    part = AttendedCrop(20)
    part.windows = np.array([[0, 0, 1, 1], [0.5, 0.25, 1.0, 0.75]], np.float32)
    assert np.array_equal(part(photo(1, 40, 40)), np.array(ramp(40, 40).crop((20, 10, 40, 30))))


@settings(max_examples=40, deadline=None)
@given(SHARES, SHARES, st.integers(4, 70), st.integers(4, 70))
def test_every_window_gives_a_part_inside_the_image_in_the_size_asked_for(
    across, down, width, height
):
    """finegrained row 60."""
    part = AttendedCrop((8, 6))
    part.windows = np.array([[across[0], down[0], across[1], down[1]]], np.float32)
    made = part(photo(0, width, height))
    assert (made.height, made.width) == (8, 6)
    pixels = np.asarray(made)
    assert (
        pixels[..., 0].max() <= width
        and pixels[..., 1].max() <= height
        and not pixels[..., 2].any()
    )


@pytest.mark.parametrize("image", [photo(0), photo(2), ramp(60, 40)])
def test_without_a_window_it_is_the_plain_random_crop(image):
    """finegrained row 60: the first epoch, an image that could not be looked at, an image that is not
    of the training.
    """
    part = AttendedCrop(16)
    if image.info.get("row") == 2:
        part.windows = np.full((3, 4), np.nan, np.float32)
    torch.manual_seed(3)
    made = part(image)
    torch.manual_seed(3)
    assert np.array_equal(made, build("random_resized_crop(16, (0.4, 1.0))", TRANSFORMS)(image))


def test_a_share_of_the_images_is_cropped_plainly_all_the_same():
    part = AttendedCrop(8, p=0.5)
    part.windows = np.array([[0, 0, 0.2, 0.2]], np.float32)
    torch.manual_seed(0)
    followed = [np.asarray(part(photo(0)))[..., 0].max() <= 13 for _ in range(200)]
    assert 60 < sum(followed) < 140


@pytest.mark.parametrize(
    "call",
    [
        "attended_crop(0)",
        "attended_crop(8, tries=0)",
        "attended_crop(8, every=0)",
        "attended_crop(8, tries=2.5)",
        "attended_crop(8, p=2)",
        "attended_crop(8, threshold='median')",
        "attended_crop(8, threshold=1.0)",
        "attended_crop(8, area=(0.5, 0.4))",
    ],
)
def test_values_that_cannot_be_are_refused(call):
    with pytest.raises(UsageError):
        build(call, TRANSFORMS)
