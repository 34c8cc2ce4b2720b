"""A part of an image as a location."""

import numpy as np
import pytest
from PIL import Image

from fastseek.data.images import BadImage, decode, shape_of
from fastseek.errors import DataError
from fastseek.io import location_states, locations
from fastseek.io.crop_locations import parse_crop, spell_crop, whole_image


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a!b.png")
    return str(tmp_path / "a!b.png"), pixels


def test_a_part_of_an_image_has_the_pixels_of_its_box(photo):
    file, pixels = photo
    part = spell_crop(file, (3.4, 2, 17.6, 19))
    assert (np.asarray(decode(part)) == pixels[2:19, 3:18]).all()
    assert (np.asarray(decode(f"{part}/name.jpg")) == pixels[2:19, 3:18]).all()
    assert (np.asarray(decode(spell_crop(file, (-5, -5, 99, 99)))) == pixels).all()
    assert shape_of(part) == pytest.approx(14.2 / 17)


def test_parts_are_one_file_with_several_contents(photo):
    file, _ = photo
    one, other = spell_crop(file, (0, 0, 9, 9)), spell_crop(file, (0, 0, 9, 8))
    assert whole_image(one) == file == whole_image(file) and parse_crop(file) is None
    assert locations.read_bytes(one, 10**6) == locations.read_bytes(file, 10**6)
    assert location_states.measure(one) == location_states.measure(file)
    states = location_states.States()
    assert len({locations.sha256_of(each, 10**6) for each in (file, one, other)}) == 3
    assert len({states.of(each) for each in (file, one, other)}) == 3
    assert not locations.is_remote(one) and not locations.is_url(one)
    assert locations.is_remote(spell_crop("s3://bucket/1.jpg", (0, 0, 9, 9)))


def test_a_box_without_area_or_outside_the_image_is_refused(photo):
    file, _ = photo
    with pytest.raises(DataError, match="left < right"):
        spell_crop(file, (5, 0, 5, 9))
    with pytest.raises(BadImage, match="30 x 20 pixels the box .* holds 0 x 9"):
        decode(spell_crop(file, (40, 0, 50, 9)))
