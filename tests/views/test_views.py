import pytest
import torch
import torch.nn.functional as F

from fastseek import views  # noqa: F401
from fastseek.errors import UsageError
from fastseek.registry import VIEWS, build
from fastseek.views.embedding import all_views, embed


def network(images):
    """Sees left from right and size, so that views matter."""
    ramp = torch.linspace(0, 1, images.shape[-1])
    return torch.cat([(images * ramp).mean((2, 3)), images.amax((2, 3)), images.flatten(2).std(2)], dim=1)


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
    torch.testing.assert_close(found[1], F.interpolate(images, (5, 7), mode="bilinear", align_corners=False))


def test_a_tiny_photo_keeps_at_least_one_pixel():
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
    found = embed(network, images, calls)
    for row in range(3):
        units = [network(batch[row:row + 1])[0] for batch in all_views(images, calls)]
        mean = torch.stack([unit / unit.norm() for unit in units]).mean(0)
        torch.testing.assert_close(found[row], mean / mean.norm())


def test_three_scales_can_be_joined_by_their_largest_values(images):
    """landmark row 41: every dimension's maximum over the unit embeddings of all views, element by element."""
    call = "scale(0.7071, 1.0, 1.4142, pool='max')"
    seen = [build("hflip", VIEWS), build(call, VIEWS)]
    found = embed(network, images, seen)
    for row in range(3):
        units = [network(batch[row:row + 1])[0] for batch in all_views(images, seen)]
        units = [unit / unit.norm() for unit in units]
        largest = torch.tensor([max(float(unit[number]) for unit in units) for number in range(len(units[0]))])
        torch.testing.assert_close(found[row], largest / largest.norm())
    assert not torch.allclose(found, embed(network, images, [build("hflip", VIEWS), build(call[:-12] + ")", VIEWS)]))
    with pytest.raises(UsageError, match="'mean' or 'max'"):
        build("scale(0.5, pool='sum')", VIEWS)


def test_every_embedding_has_length_one(images):
    """landmark row 39."""
    for calls in ([], [build("hflip", VIEWS)]):
        assert (embed(network, images, calls).norm(dim=1) - 1).abs().max() < 1e-6


def test_without_views_the_embedding_is_the_unit_vector_of_the_model(images):
    torch.testing.assert_close(embed(network, images), F.normalize(network(images)))


def test_a_photo_and_its_mirror_image_embed_alike_under_hflip(images):
    calls = [build("hflip", VIEWS)]
    torch.testing.assert_close(embed(network, images, calls), embed(network, images.flip(-1), calls))
    assert not torch.allclose(embed(network, images), embed(network, images.flip(-1)))


def test_half_precision_features_give_float32_embeddings(images):
    assert embed(lambda batch: network(batch).half(), images).dtype == torch.float32
