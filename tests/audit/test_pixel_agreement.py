"""One image laid on another: the best correlation is that of a loop over all places."""

import io

import numpy as np
import pytest
from PIL import Image

from fastseek.audit import pixel_agreement
from fastseek.audit.pixel_agreement import PixelAgreement, correlate, make_ground, make_patches


def texture(number, size=(96, 72)):
    """A gray image of blobs, unlike all others."""
    pixels = np.random.default_rng(number).integers(0, 256, (9, 12), np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def compare(*images):
    grays = [None if image is None else np.asarray(image) for image in images]
    return PixelAgreement(grays.__getitem__)


def test_the_best_correlation_is_that_of_a_loop_over_all_places():
    random = np.random.default_rng(0)
    ground = random.normal(0, 20, (15, 20)).astype(np.float32)
    patches = [random.normal(0, 20, shape).astype(np.float32) for shape in ((15, 14), (9, 11))]
    found = list(correlate(make_ground(ground, 20), make_patches(patches, 20), 20))
    for patch, best in zip(patches, found, strict=True):
        high, wide = patch.shape
        right = [
            np.corrcoef(ground[top : top + high, left : left + wide].ravel(), one.ravel())[0, 1]
            for one in (patch, patch[:, ::-1])
            for top in range(16 - high)
            for left in range(21 - wide)
        ]
        assert best == pytest.approx(max(right), abs=1e-5)


def vary(kind):
    image = texture(0)
    if kind == "crop":
        return image.crop((15, 8, 90, 66))
    if kind == "crop and mirror":
        return image.crop((0, 14, 80, 72)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind == "smaller":
        return image.resize((60, 45))
    if kind == "brighter":
        return image.point(lambda gray: 40 + gray // 2)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    return Image.open(file)


@pytest.mark.parametrize("kind", ["crop", "crop and mirror", "smaller", "brighter", "jpeg"])
def test_copies_agree_in_either_order_and_other_images_do_not(kind):
    agree = compare(texture(0), vary(kind), texture(1))
    assert agree(0, 1) == pytest.approx(agree(1, 0)) and 0.85 <= agree(0, 1) <= 1.0001
    assert agree(0, 2) < 0.6 and agree(1, 2) < 0.6
    assert agree(0, 0) == 1


def test_what_shows_nothing_agrees_with_nothing():
    flat = Image.new("L", (40, 40), 200)
    agree = compare(texture(0), flat, None, Image.new("L", (40, 30), 90))
    assert agree(0, 1) == agree(1, 3) == 0 and agree(0, 2) == pixel_agreement.UNREAD


def test_a_strip_is_not_laid_on_an_image_of_which_it_covers_little():
    image = texture(0)
    strip = image.crop((0, 30, 96, 40))
    assert compare(image, strip)(0, 1) == 0
    sizes = list(pixel_agreement.fitting_sizes((96, 72), (48, 64)))
    assert sizes[0] == (64, 48) and len(sizes) == len(set(sizes))
    assert all(w * h >= 0.3 * 64 * 48 for w, h in sizes)
