"""The augmentation lists of DIGIX 2020, as data."""

import pathlib

import pytest
import torch
import yaml

import toy
from fastseek import views  # noqa: F401
from fastseek.config.sources import chain
from fastseek.data.transforms._pipeline import compose
from fastseek.registry import TRANSFORMS, VIEWS, build, parse

PRESETS = pathlib.Path(__file__).parents[3] / "projects" / "DIGIX2020" / "presets"
# finegrained 2.1: p of (DeGaussian, DePepper), (scale), p of quarter turns, hue
TABLE = {
    "a": (0, (-0.5, 0.2), 0.2, 0.1),
    "b": (0.1, (-0.4, 0.3), 0.5, 0.2),
    "c": (0, (-0.4, 0.3), 0.5, 0.2),
}


def settings(name):
    return {one.key: one.value for one in chain(PRESETS / f"{name}.yml")}


def calls(name):
    return {parse(call)[0]: build(call, TRANSFORMS) for call in settings(name)["SEEK.TRAIN"]}


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_says_what_the_contests_table_says(name):
    """finegrained row 27."""
    noise, scale, turns, hue = TABLE[name]
    parts = calls(name)
    assert (
        {"de_gaussian", "de_pepper"} <= set(parts)
        if noise
        else not {"de_gaussian", "de_pepper"} & set(parts)
    )
    assert parts["shift_scale_rotate"].scale == scale and parts["shift_scale_rotate"].fill == [
        255,
        255,
        255,
    ]
    assert parts["random_rotate90"].p == turns and parts["color_jitter"].jitter.hue == (-hue, hue)
    assert (
        parts["random_erasing"].p,
        parts["random_erasing"].tries,
        parts["random_patch"].pool,
    ) == (0.2, 20, 1000)
    assert [parts[name].p for name in ("perspective", "channel_shuffle", "hflip", "vflip")] == [
        0.1,
        0.1,
        0.5,
        0.5,
    ]


@pytest.mark.parametrize("name", [*TABLE, "rotated"])
def test_a_preset_makes_batches_of_one_size(name):
    """finegrained row 27."""
    pipeline = compose([call.replace("512", "64") for call in settings(name)["SEEK.TRAIN"]])
    torch.manual_seed(0)
    for number in range(12):
        assert pipeline(toy.photo(number, 1, 48).crop((0, 0, 48, 30))).shape == (3, 64, 64)


def test_one_file_turns_images_in_training_and_in_testing():
    """finegrained row 54."""
    said = settings("rotated")
    assert any(call.startswith("random_rotate90") for call in said["SEEK.TRAIN"])
    assert len(build(said["SEEK.VIEWS"][0], VIEWS)(torch.zeros(1, 3, 8, 8))) == 5


def test_presets_are_plain_lists():
    for path in PRESETS.glob("*.yml"):
        assert isinstance(yaml.safe_load(path.read_text())["SEEK"]["TRAIN"], list)
