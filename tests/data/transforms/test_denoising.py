"""Noise that was planted is found and repaired; what is clean stays as it is."""

import io

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image, ImageDraw, ImageFont

from fastseek.data import transforms  # noqa: F401
from fastseek.data.transforms import _filters, _noise_level
from fastseek.data.transforms._pipeline import compose
from fastseek.errors import DataError, UsageError
from fastseek.registry import TRANSFORMS, build


def texture(seed=0, side=128, smooth=3.0):
    """A smooth coloured image with edges, values 40..215, no noise."""
    random = np.random.default_rng(seed)
    field = scipy.ndimage.gaussian_filter(random.normal(size=(side, side, 3)), (smooth, smooth, 0))
    field = 40 + 175 * (field - field.min()) / np.ptp(field)
    field[side // 3 : side // 2, side // 4 :] = random.uniform(60, 200, 3)
    return field.round().astype(np.uint8)


def gaussian(pixels, sigma, seed=0):
    noisy = pixels + np.random.default_rng(seed).normal(scale=sigma, size=pixels.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def impulse(pixels, share, seed=0):
    noisy, draw = pixels.copy(), np.random.default_rng(seed).random(pixels.shape[:2])
    noisy[draw < share], noisy[draw < share / 2] = 255, 0
    return noisy


def planted(kind, seed=0):
    pixels = texture(seed)
    if kind & _noise_level.GAUSSIAN:
        pixels = gaussian(pixels, 25, seed)
    return impulse(pixels, 0.06, seed) if kind & _noise_level.IMPULSE else pixels


def mean_square(one, other):
    return float(np.square(one.astype(float) - other).mean())


@pytest.mark.parametrize("sigma", [3.0, 12.0, 25.0, 40.0])
def test_sigma_is_the_one_that_was_planted(sigma):
    """finegrained row 24."""
    flat = np.full((256, 256, 3), 128.0)
    noisy = flat + np.random.default_rng(0).normal(scale=sigma, size=flat.shape)
    assert abs(_noise_level.gaussian_sigma(noisy) / sigma - 1) < 0.02
    assert abs(_noise_level.gaussian_sigma(gaussian(texture(side=192), sigma)) / sigma - 1) < 0.15


def test_sigma_is_what_the_wavelet_definition_gives():
    """A slow twin: the finest diagonal coefficients, one dot product each."""
    pixels = texture(side=20).astype(float)
    root = 3**0.5
    taps = [value / (4 * 2**0.5) for value in (1 - root, root - 3, 3 + root, -1 - root)]
    sigmas = []
    for channel in range(3):
        found = [
            abs(
                sum(
                    taps[y] * taps[x] * pixels[row + y, column + x, channel]
                    for y in range(4)
                    for x in range(4)
                )
            )
            for row in range(0, 17, 2)
            for column in range(0, 17, 2)
        ]
        sigmas.append(np.median([value for value in found if value > 1e-3]) / 0.6744897501960817)
    assert abs(_noise_level.gaussian_sigma(pixels) - np.mean(sigmas)) < 1e-3
    assert abs(sum(taps)) < 1e-12 and abs(sum(value**2 for value in taps) - 1) < 1e-12


def test_sigma_grows_in_proportion_and_an_even_surface_has_none():
    pixels = texture().astype(float)
    assert _noise_level.gaussian_sigma(2 * pixels) == pytest.approx(
        2 * _noise_level.gaussian_sigma(pixels), rel=1e-5
    )
    assert _noise_level.gaussian_sigma(np.full((40, 40, 3), 77.0)) == 0
    assert _noise_level.gaussian_sigma(np.zeros((3, 40, 3))) == 0


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_the_impulse_share_is_the_one_that_was_planted(share):
    """finegrained row 24."""
    assert abs(_noise_level.measure(impulse(texture(), share)).share - share) < 0.15 * share + 0.002


def test_a_black_or_white_surface_is_no_impulse():
    """finegrained row 24."""
    pixels = texture()
    pixels[20:60, 20:60], pixels[70:100, 70:100] = 0, 255
    assert _noise_level.measure(pixels).share < 0.002


def test_without_taking_impulses_away_sigma_would_be_useless():
    """finegrained 2.1: impulses alone read as Gaussian noise."""
    noisy = impulse(texture(), 0.08)
    assert _noise_level.gaussian_sigma(noisy) > 10 > _noise_level.measure(noisy).sigma


@pytest.mark.parametrize("kind", range(4))
def test_every_class_is_told_from_the_others(kind):
    """finegrained row 24."""
    found = [_noise_level.measure(planted(kind, seed)) for seed in range(12)]
    assert [one.kind for one in found] == [kind] * 12
    assert {one.name for one in found} == {_noise_level.NAMES[kind]}


def test_the_thresholds_are_the_callers():
    """finegrained row 24."""
    noisy = impulse(gaussian(texture(), 8), 0.005)
    found = _noise_level.measure(noisy)
    assert found.kind == _noise_level.CLEAN
    assert _noise_level.measure(noisy, share=0.002).kind == _noise_level.IMPULSE
    assert _noise_level.measure(noisy, sigma=6).kind == _noise_level.GAUSSIAN
    assert _noise_level.measure(noisy, share=0.002, sigma=6) == _noise_level.Noise(
        found.share, found.sigma, _noise_level.BOTH
    )


@pytest.mark.parametrize("kind", [_noise_level.IMPULSE, _noise_level.GAUSSIAN, _noise_level.BOTH])
def test_repair_brings_an_image_nearer_to_the_clean_one(kind):
    """finegrained row 25."""
    for seed in range(4):
        noisy = planted(kind, seed)
        repaired = np.asarray(build("denoise()", TRANSFORMS)(Image.fromarray(noisy)))
        assert mean_square(repaired, texture(seed)) < 0.5 * mean_square(noisy, texture(seed))


def test_a_clean_image_is_not_touched():
    clean = Image.fromarray(texture())
    assert build("denoise()", TRANSFORMS)(clean).tobytes() == clean.tobytes()


def test_repair_is_median_5_and_then_bilateral_0_100_12():
    """finegrained row 25."""
    import cv2

    for kind in (_noise_level.IMPULSE, _noise_level.GAUSSIAN, _noise_level.BOTH):
        pixels = expected = planted(kind)
        if kind & _noise_level.IMPULSE:
            expected = cv2.medianBlur(expected, 5)
        if kind & _noise_level.GAUSSIAN:
            expected = cv2.bilateralFilter(expected, 0, 100, 12)
        assert np.array_equal(
            np.asarray(build("denoise()", TRANSFORMS)(Image.fromarray(pixels))), expected
        )


def test_the_bilateral_filter_is_what_its_definition_says():
    """A slow twin in float64: every pixel is the mean of a round window, weighted by distance and
    by colour.
    """
    pixels = texture(side=44, smooth=1.0)
    result = np.asarray(_filters.bilateral(Image.fromarray(pixels), color=30, space=2))
    values, radius = pixels.astype(float), 3
    for y, x in ((20, 20), (10, 31), (33, 14)):
        total, weights = np.zeros(3), 0.0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if dy * dy + dx * dx <= radius * radius:
                    other = values[y + dy, x + dx]
                    far = np.abs(other - values[y, x]).sum()
                    weight = np.exp(-(dy * dy + dx * dx) / (2 * 2**2) - far**2 / (2 * 30**2))
                    total, weights = total + weight * other, weights + weight
        assert np.abs(result[y, x] - total / weights).max() <= 1.01


def test_one_filter_may_be_left_out():
    """finegrained row 25: the last DIGIX round used the median only."""
    both = Image.fromarray(planted(_noise_level.BOTH))
    result = build("denoise(filters=('median',))", TRANSFORMS)(both)
    assert result.tobytes() == _filters.median(both).tobytes()


def listed_photo(tmp_path, kind, path):
    (tmp_path / "noise.csv").write_text(
        f"path,class,share,sigma\nother.jpg,clean,0,0\nshop/a.jpg,{kind},0,0\n"
    )
    image = Image.fromarray(texture())
    image.info["path"] = path
    return build(f"denoise({str(tmp_path / 'noise.csv')!r})", TRANSFORMS), image


@pytest.mark.parametrize("kind", ["1", "impulse"])
def test_a_table_may_say_what_noise_an_image_has(tmp_path, kind):
    """finegrained row 25."""
    part, image = listed_photo(tmp_path, kind, "/photos/shop/a.jpg")
    assert part(image).tobytes() == _filters.median(image).tobytes()


def test_an_image_the_table_does_not_list_is_an_error(tmp_path):
    part, image = listed_photo(tmp_path, "clean", "/photos/shop/b.jpg")
    with pytest.raises(DataError, match="b.jpg: the table of noise does not list it"):
        part(image)


def test_a_table_with_an_unknown_class_is_refused_with_its_line(tmp_path):
    with pytest.raises(DataError, match="noise.csv:3: class 'speckle' is none of"):
        listed_photo(tmp_path, "speckle", "x")
    (tmp_path / "noise.csv").write_text("name,label\n")
    with pytest.raises(
        DataError, match="noise.csv:1: the header must hold path,class, found 'name,label'"
    ):
        compose([f"denoise({str(tmp_path / 'noise.csv')!r})"])


def watched(monkeypatch, part, filtered):
    """What the filter that a part uses is given, as it comes."""
    seen = []

    def noted(image):
        seen.append(np.asarray(image))
        return filtered(image)

    monkeypatch.setattr(f"{type(part).__module__}.{filtered.__name__}", noted)
    return seen


@pytest.mark.parametrize(
    "call, kind, filtered",
    [
        ("de_gaussian(1.0, sigma=(30, 30))", _noise_level.GAUSSIAN, _filters.bilateral),
        ("de_pepper(1.0, share=0.1)", _noise_level.IMPULSE, _filters.median),
    ],
)
def test_noise_is_added_and_then_repaired(monkeypatch, call, kind, filtered):
    """finegrained row 26."""
    part = build(call, TRANSFORMS)
    seen = watched(monkeypatch, part, filtered)
    torch.manual_seed(0)
    result = part(Image.fromarray(texture()))
    found = _noise_level.measure(seen[0])
    assert found.kind == kind and np.array_equal(
        np.asarray(result), np.asarray(filtered(Image.fromarray(seen[0])))
    )
    assert (
        abs(found.sigma - 30) < 4
        if kind == _noise_level.GAUSSIAN
        else abs(found.share - 0.1) < 0.015
    )


def test_added_noise_is_half_black_and_half_white(monkeypatch):
    """finegrained row 26."""
    part = build("de_pepper(1.0, share=0.2)", TRANSFORMS)
    seen = watched(monkeypatch, part, _filters.median)
    torch.manual_seed(0)
    part(Image.new("RGB", (200, 200), (128, 128, 128)))
    for colour in (0, 255):
        assert abs(float((seen[0] == colour).mean()) - 0.1) < 0.01


def test_without_opencv_the_error_says_what_to_install(monkeypatch):
    _filters.opencv.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(UsageError, match="pip install opencv-python-headless"):
        _filters.opencv()
    monkeypatch.undo()
    assert _filters.opencv().medianBlur


def page(size, paper=255, ink=0):
    """A page of text."""
    image = Image.new("RGB", (300, 240), (paper,) * 3)
    draw = ImageDraw.Draw(image)
    for top in range(4, 240 - size, size + 6):
        line = "Instance retrieval finds the same thing in another image."
        draw.text((12, top), line, fill=(ink,) * 3, font=ImageFont.load_default(size))
    return np.array(image)


def board(side):
    """A checkerboard."""
    rows, columns = np.mgrid[:160, :200] // side
    return np.repeat(np.uint8(255 * ((rows + columns) % 2))[..., None], 3, axis=2)


def logo():
    """Three plain shapes on a plain ground."""
    image = Image.new("RGB", (200, 160), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 90, 90), fill=(200, 30, 40))
    draw.polygon([(110, 30), (180, 60), (120, 120)], fill=(20, 80, 180))
    draw.line((10, 140, 190, 100), fill=(0, 0, 0), width=3)
    return np.array(image)


GRAPHICS = {
    **{f"text of {size}": page(size) for size in (10, 14, 24)},
    "white on black": page(14, 0, 255),
    **{f"checkerboard of {side}": board(side) for side in (1, 2, 3, 4, 8, 16)},
    "logo": logo(),
}


@pytest.mark.parametrize("quality", [None, 95, 85])
@pytest.mark.parametrize("name", GRAPHICS)
def test_F15_text_logos_and_checkerboards_are_clean(name, quality):
    image = Image.fromarray(GRAPHICS[name])
    if quality:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer).convert("RGB")
    assert build("denoise()", TRANSFORMS)(image).tobytes() == image.tobytes()


def test_F15_where_most_coefficients_are_0_there_is_no_noise():
    pixels = np.full((64, 64, 3), 90.0)
    pixels[:20] += np.random.default_rng(0).normal(scale=30, size=(20, 64, 3))
    assert _noise_level.gaussian_sigma(pixels) == 0
    pixels[:44] += np.random.default_rng(1).normal(scale=30, size=(44, 64, 3))
    assert _noise_level.gaussian_sigma(pixels) > 20


def test_F15_a_sharp_thumbnail_is_clean_and_with_noise_it_is_not():
    """Texture down to single pixels: edges of many strengths have longer tails than noise."""
    random = np.random.default_rng(3)
    pixels = np.full((160, 200, 3), 120.0)
    for _ in range(8000):
        top, left = random.integers(0, 155), random.integers(0, 195)
        height, width = random.integers(1, 8, 2)
        spread = 30 if random.random() < 0.5 else 70
        color = random.normal(128, spread, 3).clip(0, 255)
        pixels[top : top + height, left : left + width] = color
    clean = pixels.astype(np.uint8)
    assert _noise_level.gaussian_sigma(clean) > 10
    assert _noise_level.measure(clean).kind == _noise_level.CLEAN
    assert _noise_level.measure(gaussian(clean, 40)).kind & _noise_level.GAUSSIAN
