"""Where every pixel goes: padding, turns, perspective, erased and patched places."""

import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import toy
from fastseek.data import transforms  # noqa: F401
from fastseek.data.transforms._image_ops import to_tensor
from fastseek.data.transforms._pipeline import compose
from fastseek.errors import UsageError
from fastseek.registry import TRANSFORMS, build


def transform(call):
    return build(call, TRANSFORMS)


def seeded(call, image, seed=0):
    torch.manual_seed(seed)
    return to_tensor((transform(call) if isinstance(call, str) else call)(image))


def grey(height, width, value=255):
    return Image.new("RGB", (width, height), (value, value, value))


def inside(tensor):
    """(top, bottom, left, right) border around what is not black."""
    rows, columns = (tensor.amax((0, axis)) > 0 for axis in (2, 1))
    where = [torch.nonzero(line).flatten() for line in (rows, columns)]
    return [
        int(value)
        for line, side in zip(where, tensor.shape[1:], strict=True)
        for value in (line[0], side - 1 - line[-1])
    ]


@pytest.mark.parametrize("kind", ["pil", "tensor"])
@pytest.mark.parametrize(
    "height, width, size, borders",
    [
        (40, 40, 20, [0, 0, 0, 0]),
        (30, 60, 60, [15, 15, 0, 0]),
        (60, 30, 60, [0, 0, 15, 15]),
        (33, 100, 50, [17, 17, 0, 0]),
        (100, 33, 50, [0, 0, 17, 17]),
        (100, 35, 50, [0, 0, 16, 17]),
        (35, 100, 50, [16, 17, 0, 0]),
        (10, 7, 50, [0, 0, 7, 8]),
        (999, 1, 64, [0, 0, 31, 32]),
    ],
)
def test_rescale_pad_truncates_the_short_side_and_puts_the_odd_pixel_last(
    height, width, size, borders, kind
):
    """finegrained row 22. 16.5 becomes 16 and not 17; of an odd rest the larger half is right or at
    the bottom.
    """
    image = grey(height, width) if kind == "pil" else to_tensor(grey(height, width))
    result = seeded(f"rescale_pad({size})", image)
    assert result.shape == (3, size, size) and inside(result) == borders


def test_rescale_pad_keeps_the_aspect_and_every_part_of_the_image():
    """finegrained row 22."""
    ramp = Image.fromarray(
        np.repeat(np.linspace(0, 255, 120).astype(np.uint8)[None, :, None], 60, 0).repeat(3, 2)
    )
    result = seeded("rescale_pad(60, fill=(9, 8, 7))", ramp)
    assert torch.equal(result[:, 0, 0], torch.tensor([9.0, 8.0, 7.0]))
    assert result[0, 30, 0] < 4 and result[0, 30, -1] > 251 and (result[0, 30].diff() > 0).all()


def test_an_image_of_the_right_size_passes_rescale_pad_untouched():
    assert torch.equal(
        seeded("rescale_pad(48)", toy.photo(1, 1, 48)), to_tensor(toy.photo(1, 1, 48))
    )


def test_the_test_size_must_be_a_multiple_of_the_stride_and_the_near_ones_are_told():
    """finegrained row 43."""
    with pytest.raises(UsageError, match=r"563 .* 544 \(factor 1.062\) or 576 \(factor 1.125\)"):
        transform("rescale_pad(512, factor=1.1, stride=32)")
    assert seeded("rescale_pad(640, factor=1.1, stride=32)", grey(8, 8)).shape == (3, 704, 704)


def test_a_quarter_turn_goes_both_ways_equally_often():
    """finegrained row 28."""
    image = to_tensor(toy.photo(2, 1, 12))
    ways = [torch.rot90(image, turns, (1, 2)) for turns in (0, 1, 3)]
    torch.manual_seed(0)
    part = transform("random_rotate90(0.5)")
    results = [part(image) for _ in range(1000)]
    counts = [sum(torch.equal(result, way) for result in results) for way in ways]
    assert sum(counts) == 1000 and abs(counts[0] - 500) < 50 and abs(counts[1] - 250) < 45


def test_vflip_mirrors_top_and_bottom():
    """finegrained row 28."""
    assert torch.equal(
        seeded("vflip(1.0)", toy.photo(2, 1, 12)), to_tensor(toy.photo(2, 1, 12)).flip(1)
    )


def test_channel_shuffle_gives_every_order_equally_often():
    """finegrained row 28."""
    image = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    torch.manual_seed(0)
    part = transform("channel_shuffle(1.0)")
    orders = [tuple(part(image).flatten().tolist()) for _ in range(1200)]
    assert len(set(orders)) == 6 and all(150 < orders.count(order) < 250 for order in set(orders))


def test_perspective_shows_nothing_from_outside_the_image_and_moves_its_corners():
    """finegrained row 28."""
    white = grey(60, 90)
    for seed in range(40):
        assert seeded("perspective((0.05, 0.15), p=1)", white, seed).min() >= 250
    photo = toy.photo(3, 1, 60)
    changes = [
        float((seeded(f"perspective(({s}, {s}), p=1)", photo) - to_tensor(photo)).abs().mean())
        for s in (0.0, 0.02, 0.15)
    ]
    assert changes[0] < 0.5 < changes[1] < changes[2]


def test_shift_scale_rotate_fills_with_the_colour_it_is_told():
    result = seeded("shift_scale_rotate(0, (-0.5, -0.5), 0, p=1, fill=255)", grey(40, 40, 0))
    assert result[:, 0, 0].tolist() == [255, 255, 255] and result[:, 20, 20].tolist() == [0, 0, 0]


def test_shift_scale_rotate_draws_an_uneven_scale():
    """finegrained row 27: DIGIX draws the factor from 0.5 to 1.2."""
    black = torch.zeros(3, 101, 101)
    sides = []
    for seed in range(300):
        result = seeded("shift_scale_rotate(0, (-0.5, 0.2), 0, p=1, fill=255)", black, seed)
        sides.append(int((result[0, 50] < 128).sum()) / 101)
    assert (
        min(sides) < 0.53
        and max(sides) == 1
        and abs(np.mean(np.array(sides) > 0.99) - 2 / 7) < 0.08
    )


def erased(call, seeds, height=256, width=128):
    """Height and width of what was painted, a row a seed in which something was."""
    blank = torch.full((3, height, width), -1.0)
    part, found = transform(call), []
    for seed in range(seeds):
        hole = (seeded(part, blank, seed) != -1).all(0)
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        if len(rows):
            found.append((int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1))
            assert hole.sum() == found[-1][0] * found[-1][1]
    return np.array(found)


@pytest.mark.parametrize("law, tall", [("uniform", 0.80), ("log", 0.59)])
def test_the_aspect_law_decides_how_many_rectangles_are_tall(law, tall):
    """finegrained row 6, trap 2: four of five are tall under the uniform law at 256 x 128, 59 %
    under the other.
    """
    found = erased(f"random_erasing(1.0, law={law!r})", 1500)
    assert abs((found[:, 0] > found[:, 1]).mean() - tall) < 0.03


@pytest.mark.parametrize("law", ["uniform", "log"])
def test_erased_areas_and_aspects_follow_their_laws(law):
    """finegrained row 6: on a large square nothing is refused, so both are drawn as they are
    told.
    """
    found = erased(
        f"random_erasing(1.0, area=(0.02, 0.1), aspect=(0.5, 2.0), law={law!r})", 1200, 300, 300
    )
    area = (found.prod(1) / 90_000 - 0.02) / 0.08
    aspect = found[:, 0] / found[:, 1]
    even = np.log2(aspect) / 2 + 0.5 if law == "log" else (aspect - 0.5) / 1.5
    for values in (area, even):
        assert (
            np.abs(
                np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9]) - [0.1, 0.25, 0.5, 0.75, 0.9]
            ).max()
            < 0.05
        )


def test_erasing_happens_as_often_as_it_should_and_gives_up_after_its_tries():
    """finegrained row 6."""
    assert abs(len(erased("random_erasing(0.3)", 1000, 64, 64)) / 1000 - 0.3) < 0.05
    one = len(erased("random_erasing(1.0, area=(0.3, 0.4), tries=1)", 400)) / 400
    assert one < 0.93 and len(erased("random_erasing(1.0, area=(0.3, 0.4))", 100)) == 100


FILLS = {"mean": lambda x: x, "repo": lambda x: x - torch.tensor([0.485, 0.456, 0.406])[:, None]}


@pytest.mark.parametrize("fill", FILLS)
def test_fills_are_what_stands_there_after_normalising(fill):
    """finegrained row 6, trap 2: the repository writes the mean values after normalising, which is
    not the mean.
    """
    blank = torch.full((3, 40, 40), -1.0)
    result = seeded(f"random_erasing(1.0, fill={fill!r})", blank)
    mean, std = (
        torch.tensor([0.485, 0.456, 0.406])[:, None],
        torch.tensor([0.229, 0.224, 0.225])[:, None],
    )
    written = (result[:, (result != -1).all(0)] / 255 - mean) / std
    assert FILLS[fill](written).abs().max() < 1e-5


def test_a_normal_fill_is_standard_normal_after_normalising():
    result = seeded(
        "random_erasing(1.0, area=(0.3, 0.4), fill='normal')", torch.full((3, 200, 200), -1.0)
    )
    written = result[:, (result != -1).all(0)] / 255
    mean, std = (
        torch.tensor([0.485, 0.456, 0.406])[:, None],
        torch.tensor([0.229, 0.224, 0.225])[:, None],
    )
    written = (written - mean) / std
    assert abs(float(written.mean())) < 0.03 and 0.93 < float(written.std()) < 1.02


def test_an_image_fill_is_the_images_own_mean_colour():
    """finegrained row 7."""
    photo = toy.photo(5, 1, 40)
    result = seeded("random_erasing(1.0, area=(0.2, 0.3), fill='image')", to_tensor(photo))
    mean = to_tensor(photo).mean((1, 2))
    assert int(((result - mean[:, None, None]).abs().amax(0) < 1e-3).sum()) >= 0.19 * 1600


def test_a_colour_fill_is_one_colour_and_another_each_time():
    colours = []
    for seed in range(20):
        result = seeded("random_erasing(1.0, fill='colour')", torch.full((3, 40, 40), -1.0), seed)
        values = result[:, (result != -1).all(0)]
        assert values.std(1).max() < 1e-3
        colours.append(tuple(values[:, 0].tolist()))
    assert len(set(colours)) == 20 and np.ptp(colours) > 150


def lent(pool=20, **options):
    part = build(f"random_patch(p=1, pool={pool}, flip=0, rotate=0)", TRANSFORMS)
    asked = []

    def photo(row):
        asked.append(row)
        return None if row == 3 else Image.new("RGB", (50, 50), (row, 0, 255))

    part.lend(photo, 100)
    return part, asked


def test_a_patch_is_a_part_of_another_image_of_the_area_it_should_have():
    """finegrained row 29."""
    part, _ = lent()
    for seed in range(60):
        result = seeded(part, torch.zeros(3, 80, 60), seed)
        hole = result[2] > 0
        assert (
            0.008 < hole.float().mean() < 0.21 and len(set(result[0][hole].round().tolist())) == 1
        )


def test_the_pool_is_bounded_and_what_it_held_before_has_no_say():
    """finegrained row 29: a batch must not depend on what its worker saw before."""
    part, asked = lent(pool=5)
    first = [seeded(part, torch.zeros(3, 40, 40), seed) for seed in range(40)]
    assert len(part._parts) <= 5 and len(set(asked) - {3}) <= 5
    for seed in (39, 7, 0, 21):
        fresh, _ = lent(pool=5)
        assert torch.equal(first[seed], seeded(fresh, torch.zeros(3, 40, 40), seed))


def test_a_lent_image_that_cannot_be_read_is_passed_over():
    part, asked = lent(pool=400)
    for seed in range(300):
        seeded(part, torch.zeros(3, 20, 20), seed)
    assert 3 in asked


def test_a_list_lends_to_the_parts_that_ask_and_can_be_sent_to_a_worker():
    pipeline = compose(["hflip(0.5)", "random_patch(1.0)"])
    pipeline.lend(toy.photo, 7)
    assert pipeline.parts[1].count == 7
    pickle.loads(pickle.dumps(pipeline))


def test_flips_then_pads_then_crops_to_the_same_size():
    """finegrained row 5: 256 x 128, zero padding of 10 pixels, back to 256 x 128."""
    pipeline = compose(["resize((256, 128))", "hflip(0.5)", "pad_crop(10)"])
    shifts = set()
    for seed in range(200):
        result = seeded(pipeline, grey(400, 150), seed)
        assert result.shape == (3, 256, 128)
        shifts.add(tuple(inside(result)))
    assert max(max(shift) for shift in shifts) == 10 and min(min(shift) for shift in shifts) == 0


def test_auto_augment_is_torchvisions_policy_under_the_same_seed():
    """finegrained row 63."""
    from torchvision.transforms.v2 import AutoAugment, AutoAugmentPolicy

    photo = toy.photo(1, 1, 48)
    for seed in range(10):
        torch.manual_seed(seed)
        torch.rand(())
        expected = to_tensor(AutoAugment(AutoAugmentPolicy.IMAGENET)(photo))
        assert torch.equal(seeded("auto_augment()", photo, seed), expected)


def test_the_area_law_is_the_one_of_the_definition():
    """A slow twin: area and aspect drawn by hand in the same order, the log law."""
    torch.manual_seed(5)
    torch.rand(())
    area = 0.02 + 0.38 * float(torch.rand((), dtype=torch.float64))
    aspect = math.exp(
        math.log(0.3) + math.log(1 / 0.09) * float(torch.rand((), dtype=torch.float64))
    )
    shape = round(math.sqrt(40_000 * area * aspect)), round(math.sqrt(40_000 * area / aspect))
    result = seeded("random_erasing(1.0, law='log')", torch.full((3, 200, 200), -1.0), 5)
    assert int((result[0] != -1).sum()) == shape[0] * shape[1]
