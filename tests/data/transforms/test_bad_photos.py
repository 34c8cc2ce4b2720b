"""Images made dark, over-exposed and blurred."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image

from fastseek.data.transforms._image_ops import to_tensor
from fastseek.errors import UsageError
from fastseek.registry import TRANSFORMS, build


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8))


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 2.5])
def test_brightness_multiplies_and_cuts_off_at_white(image, factor):
    """finegrained row 71."""
    part = build(f"brightness({factor})", TRANSFORMS)
    expected = np.minimum(255, np.asarray(image, np.float64) * factor)
    assert np.abs(np.asarray(part(image)) - expected).max() <= 0.5
    assert torch.allclose(
        part(to_tensor(image)).double(), torch.from_numpy(expected).permute(2, 0, 1), atol=1e-3
    )


def test_a_blur_is_a_gaussian_whose_width_follows_the_size(image):
    """finegrained row 71."""
    photo = np.zeros((3, 101, 101), np.float32)
    photo[:, 50, 50] = 255
    made = build("blur(0.03)", TRANSFORMS)(torch.from_numpy(photo)).numpy()
    slow = scipy.ndimage.gaussian_filter(
        photo[0].astype(float), 0.03 * 101, mode="mirror", truncate=4
    )
    assert np.abs(made[0] - slow).max() < 0.05
    assert build("blur()", TRANSFORMS)(image).size == image.size


@pytest.mark.parametrize("call", ["brightness(-1)", "brightness()", "blur(0)", "blur(0.5)"])
def test_values_that_cannot_be_are_refused(call):
    with pytest.raises(UsageError):
        build(call, TRANSFORMS)
