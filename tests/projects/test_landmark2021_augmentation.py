"""The augmentation of the 2021 landmark winners, as the project's recipes spell it."""

import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

from fastseek import compat  # noqa: F401
from fastseek.config import recipe
from fastseek.data.images import decode
from fastseek.data.transforms import _pipeline as pipelines
from fastseek.io.yaml_lines import read_yaml
from fastseek.registry import TRANSFORMS, build, parse
from fastseek.workflows.plan.spec import configs, read_plan

from fastreid.modeling import build_model

HOME = pathlib.Path(__file__).parents[2] / "projects" / "Landmark2021"
CONFIGS = sorted(
    path for path in (HOME / "configs").glob("*.yml") if not path.name.startswith("Base-")
)
OTHER = {"efficientnet_b5_s7"}  # of the second place of 2020, who augmented otherwise
OURS = [path for path in CONFIGS if path.stem not in OTHER and not path.stem.startswith("small")]


def photo(height=90, width=140, seed=0):
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 14, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def train_calls(path):
    return read_yaml(path).values["SEEK"]["TRAIN"]


def plan_lists():
    for path in sorted((HOME / "plans").glob("*.yml")):
        plan = read_plan(path)
        for step, cfg in zip(plan.steps, configs(plan), strict=True):
            if path.stem not in OTHER:
                yield f"{path.stem}: {step.name}", cfg.SEEK.TRAIN


LISTS = dict(plan_lists())


@pytest.mark.parametrize("calls", LISTS.values(), ids=LISTS.keys())
def test_every_step_of_every_plan_augments_as_published_in_that_order(calls):
    """landmark row 10: flip, JPEG, shift-scale-rotate on the photo as it is, resize, cutout."""
    parts = [build(call, TRANSFORMS) for call in calls]
    names = [parse(call)[0] for call in calls]
    assert names == ["hflip", "jpeg", "shift_scale_rotate", "resize", "cutout"]
    flip, jpeg, affine, resize, cutout = parts
    assert flip.p == 0.5
    assert (jpeg.low, jpeg.high, jpeg.p) == (99, 100, 0.5)
    assert (affine.shift, affine.scale, affine.rotate, affine.p) == (0.2, (-0.2, 0.2), 10, 0.7)
    assert set(affine.fill) == {0}
    assert resize.size[0] == resize.size[1] and not resize.keep
    assert (cutout.share, cutout.p) == (0.4, 0.5)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_training_and_embedding_see_one_size_and_embedding_does_nothing_but_resize(path):
    """landmark row 11."""
    cfg = recipe.load(path)
    (only,) = [build(call, TRANSFORMS) for call in cfg.SEEK.TEST]
    assert [parse(call)[0] for call in cfg.SEEK.TEST] == ["resize"]
    assert only.size == build(cfg.SEEK.TRAIN[3], TRANSFORMS).size and not cfg.SEEK.VIEWS
    np.testing.assert_allclose(cfg.MODEL.PIXEL_MEAN, [123.675, 116.28, 103.53])
    np.testing.assert_allclose(cfg.MODEL.PIXEL_STD, [58.395, 57.12, 57.375])


def test_the_seed_decides_the_augmented_photo_and_nothing_else():
    """landmark row 10: seeded."""
    pipeline = pipelines.compose([call.replace("768", "64") for call in train_calls(OURS[0])])
    made = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        np.random.seed(seed + 7)
        made.append(pipeline(photo()))
    assert torch.equal(made[0], made[2]) and not torch.equal(made[0], made[1])
    assert made[0].shape == (3, 64, 64) and made[0].dtype == torch.float32


def test_each_part_happens_as_often_as_published():
    """landmark row 10: the shares of .5, .5, .7 and .5 within three standard deviations of 2,000
    draws.
    """
    calls = train_calls(OURS[0])
    image = photo(20, 30)
    for place, share in ((0, 0.5), (1, 0.5), (2, 0.7), (4, 0.5)):
        part = build(calls[place], TRANSFORMS)
        torch.manual_seed(place)
        count = sum(
            np.asarray(part(image)).tobytes() != np.asarray(image).tobytes() for _ in range(2000)
        )
        assert abs(count / 2000 - share) < 3 * (share * (1 - share) / 2000) ** 0.5 + 0.002


def test_the_affine_change_works_on_the_photo_and_not_on_the_square():
    """landmark row 10: a shift is a share of the photo's own width and height, and what comes in is
    black.
    """
    part = build("shift_scale_rotate(0.2, 0.0, 0, p=1.0)", TRANSFORMS)
    white = Image.new("RGB", (200, 100), (255, 255, 255))
    widest, highest = 0.0, 0.0
    torch.manual_seed(0)
    for _ in range(300):
        moved = np.asarray(part(white))[..., 0] > 127
        widest = max(widest, 1 - moved.any(axis=0).mean())
        highest = max(highest, 1 - moved.any(axis=1).mean())
    assert 0.17 < widest <= 0.21 and 0.17 < highest <= 0.21


def test_F02_the_hole_has_two_fifths_of_the_side_unless_the_border_cuts_it_and_is_black():
    """landmark row 10: black before normalising; at the upper and left border it is moved in."""
    part = build("cutout(0.4, p=1.0)", TRANSFORMS)
    for seed in range(20):
        torch.manual_seed(seed)
        hole = (part(torch.full((3, 50, 50), 200.0)) == 0).all(dim=0)
        rows, columns = hole.any(dim=1).nonzero(), hole.any(dim=0).nonzero()
        for places in (rows[:, 0], columns[:, 0]):
            assert len(places) == 20 or 10 <= len(places) < 20 and places.max() == 49
        assert hole.sum() == len(rows) * len(columns)


def test_a_known_pixel_keeps_its_red_green_and_blue(tmp_path):
    """landmark row 11: the file's red is the first channel the model sees, normalised by the first
    mean.
    """
    Image.new("RGB", (40, 30), (250, 120, 10)).save(tmp_path / "a.png")
    cfg = recipe.load(
        OURS[0],
        [
            "SEEK.BACKBONE",
            "timm(name='mobilenetv2_050', stages=(3, 4))",
            "MODEL.DEVICE",
            "cpu",
            "SEEK.BRANCHES",
            "['gem(dim=8)']",
            "SEEK.LOSSES",
            "[]",
        ],
    )
    seen = pipelines.compose(["resize(32, interpolation='bilinear')"])(decode(tmp_path / "a.png"))
    assert seen.shape == (3, 32, 32)
    np.testing.assert_allclose(seen[:, 5, 7], [250, 120, 10])
    given = build_model(cfg).preprocess(seen[None])
    np.testing.assert_allclose(given[0, :, 0, 0], [2.16328, 0.06513, -1.63016], atol=1e-4)
