import pytest
import torch
import torch.nn.functional as F

from fastseek import views  # noqa: F401
from fastseek.errors import UsageError
from fastseek.registry import VIEWS, build
from fastseek.views._embedding import all_views, embed_views


def network(images):
    """Sees left from right and size, so that views matter."""
    ramp = torch.linspace(0, 1, images.shape[-1])
    return torch.cat(
        [(images * ramp).mean((2, 3)), images.amax((2, 3)), images.flatten(2).std(2)], dim=1
    )


@pytest.fixture
def images():
    return torch.rand(3, 3, 10, 14, generator=torch.Generator().manual_seed(0)) * 255


def test_hflip_mirrors_left_and_right(images):
    given, mirrored = build("hflip", VIEWS)(images)
    assert torch.equal(given, images)
    for x in range(14):
        assert torch.equal(mirrored[..., x], images[..., 13 - x])


def test_scale_gives_the_photos_and_every_other_size(images):
    found = build("scale(0.5, 1.0, 1.4142)", VIEWS)(images)
    assert [tuple(one.shape[2:]) for one in found] == [(10, 14), (5, 7), (14, 20)]
    assert torch.equal(found[0], images)
    torch.testing.assert_close(
        found[1], F.interpolate(images, (5, 7), mode="bilinear", align_corners=False)
    )


def test_a_tiny_photo_keeps_at_least_one_pixel():
    torch.manual_seed(0)
    assert build("scale(0.1)", VIEWS)(torch.rand(1, 3, 2, 3))[1].shape == (1, 3, 1, 1)


@pytest.mark.parametrize("call", ["scale()", "scale(0)", "scale(-1.0)"])
def test_a_scale_that_cannot_be_is_a_usage_error(call):
    with pytest.raises(UsageError, match="positive"):
        build(call, VIEWS)


@pytest.mark.parametrize("name", VIEWS.names())
def test_every_view_gives_the_photos_themselves_first_and_changes_nothing(name, images):
    before = images.clone()
    view = build({"scale": "scale(0.5)"}.get(name, name), VIEWS)
    assert torch.equal(view(images)[0], before) and torch.equal(images, before)


def test_views_are_multiplied(images):
    calls = [build("hflip", VIEWS), build("scale(0.5, 2.0)", VIEWS)]
    found = all_views(images, calls)
    assert [tuple(one.shape[2:]) for one in found] == [(10, 14), (5, 7), (20, 28)] * 2
    assert torch.equal(found[3], images.flip(-1))


def test_the_embedding_is_the_direction_of_the_mean_of_unit_vectors(images):
    """Landmark facts 1.1: per-view L2, mean, L2; row by row and view by view. landmark row 41."""
    calls = [build("hflip", VIEWS), build("scale(0.5, 2.0)", VIEWS)]
    found = embed_views(network, images, calls)
    for row in range(3):
        units = [network(batch[row : row + 1])[0] for batch in all_views(images, calls)]
        mean = torch.stack([unit / unit.norm() for unit in units]).mean(0)
        torch.testing.assert_close(found[row], mean / mean.norm())


def test_three_scales_can_be_joined_by_their_largest_values(images):
    """landmark row 41: every dimension's maximum over the unit embeddings of all views, element by
    element.
    """
    call = "scale(0.7071, 1.0, 1.4142, pool='max')"
    seen = [build("hflip", VIEWS), build(call, VIEWS)]
    found = embed_views(network, images, seen)
    for row in range(3):
        units = [network(batch[row : row + 1])[0] for batch in all_views(images, seen)]
        units = [unit / unit.norm() for unit in units]
        largest = torch.tensor(
            [max(float(unit[number]) for unit in units) for number in range(len(units[0]))]
        )
        torch.testing.assert_close(found[row], largest / largest.norm())
    assert not torch.allclose(
        found, embed_views(network, images, [build("hflip", VIEWS), build(call[:-12] + ")", VIEWS)])
    )
    with pytest.raises(UsageError, match="'mean' or 'max'"):
        build("scale(0.5, pool='sum')", VIEWS)


def test_every_embedding_has_length_one(images):
    """landmark row 39."""
    for calls in ([], [build("hflip", VIEWS)]):
        assert (embed_views(network, images, calls).norm(dim=1) - 1).abs().max() < 1e-6


def test_without_views_the_embedding_is_the_unit_vector_of_the_model(images):
    torch.testing.assert_close(embed_views(network, images), F.normalize(network(images)))


def test_a_photo_and_its_mirror_image_embed_alike_under_hflip(images):
    calls = [build("hflip", VIEWS)]
    torch.testing.assert_close(
        embed_views(network, images, calls), embed_views(network, images.flip(-1), calls)
    )
    assert not torch.allclose(embed_views(network, images), embed_views(network, images.flip(-1)))


def test_half_precision_features_give_float32_embeddings(images):
    assert embed_views(lambda batch: network(batch).half(), images).dtype == torch.float32


def test_rotations_are_the_photo_two_mirror_images_and_two_quarter_turns(images):
    """finegrained row 44."""
    found = build("rotations", VIEWS)(images)
    height, width = images.shape[2:]
    assert [tuple(one.shape[2:]) for one in found] == [(10, 14)] * 3 + [(14, 10)] * 2
    for y in range(height):
        for x in range(width):
            pixel = images[:, :, y, x]
            places = [
                found[0][:, :, y, x],
                found[1][:, :, y, width - 1 - x],
                found[2][:, :, height - 1 - y, x],
                found[3][:, :, x, height - 1 - y],
                found[4][:, :, width - 1 - x, y],
            ]
            assert all(torch.equal(pixel, place) for place in places)


def test_half_a_turn_is_both_mirror_images_together(images):
    """finegrained row 44."""
    only = build("rotations(cw=False, ccw=False, hflip=False, vflip=False, half=True)", VIEWS)(
        images
    )
    assert len(only) == 2 and torch.equal(only[1], images.flip(2).flip(3))


def test_raw_views_are_summed_as_they_are_and_others_weigh_the_same(images):
    """finegrained row 44: with `raw` a view with longer vectors counts for more."""
    square = images[:, :, :, :10]

    def lopsided(batch):
        return network(batch) * (100 if torch.equal(batch, square.flip(3)) else 1)

    raw, even = (build(f"rotations(raw={flag})", VIEWS) for flag in (True, False))
    total = sum(lopsided(batch) for batch in raw(square))
    torch.testing.assert_close(
        embed_views(lopsided, square, [raw]), total / total.norm(dim=1, keepdim=True)
    )
    torch.testing.assert_close(
        embed_views(lopsided, square, [even]), embed_views(network, square, [even])
    )
    assert not torch.allclose(
        embed_views(lopsided, square, [raw]), embed_views(network, square, [raw]), atol=1e-3
    )


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_with_all_four_turns_a_turned_photo_embeds_as_the_photo(images, turns):
    """finegrained row 44: the views of the one are the views of the other."""
    square = images[:, :, :, :10]
    calls = [build("rotations(hflip=False, vflip=False, half=True)", VIEWS)]
    torch.testing.assert_close(
        embed_views(network, torch.rot90(square, turns, (2, 3)), calls),
        embed_views(network, square, calls),
    )


def test_five_crop_shows_the_corners_and_the_middle(images):
    """finegrained row 78."""
    found = build("five_crop(0.5)", VIEWS)(images)
    assert torch.equal(found[0], images)
    corners = [(0, 0), (0, 7), (5, 0), (5, 7), (2, 3)]
    for crop, (top, left) in zip(found[1:], corners, strict=True):
        assert torch.equal(crop, images[:, :, top : top + 5, left : left + 7])
    assert {tuple(one.shape) for one in build("five_crop(0.5, resize=True)", VIEWS)(images)} == {
        (3, 3, 10, 14)
    }


def test_five_crops_times_mirror_images_times_scales(images):
    """finegrained row 78."""
    calls = [build(call, VIEWS) for call in ("five_crop(0.8)", "hflip()", "scale(1.0, 2.0)")]
    found = all_views(images, calls)
    assert len(found) == 6 * 2 * 2 and torch.equal(found[0], images)
    assert len({(tuple(one.shape), float(one.sum())) for one in found}) > 20


def test_a_scale_that_leaves_the_stride_is_refused_with_the_near_ones():
    """finegrained row 43."""
    square = torch.zeros(1, 3, 320, 320)
    with pytest.raises(UsageError, match="352 x 352"):
        build("scale(1.1, stride=64)", VIEWS)(square)
    assert build("scale(1.1, stride=32)", VIEWS)(square)[1].shape == (1, 3, 352, 352)
    with pytest.raises(UsageError, match="take 1.0625 or 1.125$"):
        build("scale(1.1, stride=32)", VIEWS)(torch.zeros(1, 3, 512, 512))


@pytest.mark.parametrize("call", ["five_crop(0)", "five_crop(1.5)"])
def test_a_crop_that_cannot_be_is_a_usage_error(call):
    with pytest.raises(UsageError, match="share"):
        build(call, VIEWS)
