"""The second look at what the network looks at."""

import numpy as np
import pytest
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.inference import embedding
from fastseek.inference.foreground import cutter, enlarge


class Spot(nn.Module):
    """A Seeker whose map is the photo's red channel, four pixels a place; its embedding is the mean
    colour.
    """

    def __init__(self):
        super().__init__()
        self.backbone = self.Red()

    class Red(nn.Module):
        """One map, "s4"."""

        channels = {"s4": 1}

        def forward(self, images):
            return {"s4": nn.functional.avg_pool2d(images[:, :1], 4)}

    def preprocess(self, images):
        return images

    def forward(self, batch):
        return batch["images"].mean(dim=(2, 3)) + 1


def photo(top, left, bottom, right, size=40):
    image = torch.zeros(1, 3, size, size)
    image[:, 0, top:bottom, left:right] = 200
    image[:, 1] = torch.arange(size, dtype=torch.float32)[None, None, :]
    return image


def test_the_part_with_high_response_is_cut_with_its_margin_and_enlarged():
    """finegrained row 53."""
    image = photo(8, 12, 32, 36)
    before = image.clone()
    found = cutter(Spot(), "foreground()")(image)
    margin = 2  # a tenth of 24 pixels, to whole pixels outward
    part = image[:, :, 8 - margin - 1 : 32 + margin, 12 - margin - 1 : 36 + margin]
    expected = nn.functional.interpolate(part, size=(40, 40), mode="bilinear", antialias=True)
    assert found.shape == image.shape and torch.allclose(found, expected, atol=12)
    assert found[:, 0].mean() > 1.5 * image[:, 0].mean() and torch.equal(image, before)


@pytest.mark.parametrize("box", [(8, 8, 12, 12), (0, 0, 40, 40)])
def test_a_part_that_is_too_small_or_is_all_leaves_the_photo_as_it_is(box):
    image = photo(*box)
    assert torch.equal(cutter(Spot(), "foreground(least=0.1)")(image), image)


def test_photos_are_cut_one_by_one():
    images = torch.cat([photo(8, 12, 32, 36), photo(0, 0, 20, 24), photo(8, 8, 12, 12)])
    cut = cutter(Spot(), "foreground()")
    assert torch.equal(cut(images), torch.cat([cut(image[None]) for image in images]))


def test_a_box_of_nothing_still_takes_a_pixel():
    image = torch.rand(3, 8, 8)
    assert torch.equal(enlarge(image, (1.0, 1.0, 1.0, 1.0)), image[:, 7:, 7:].expand(3, 8, 8))


def test_a_recipe_embeds_the_foreground_over_all_its_views_and_its_provenance_says_so(recipe_of):
    images, model = torch.cat([photo(8, 12, 32, 36), photo(4, 0, 24, 20)]), Spot()
    plain, cut = (
        recipe_of(SEEK__VIEWS=["hflip()"]),
        recipe_of(SEEK__VIEWS=["hflip()"], SEEK__FOREGROUND="foreground()"),
    )
    expected = embedding.embedder(plain, model)(cutter(model, "foreground()")(images))
    assert torch.equal(embedding.embedder(cut, model)(images), expected)
    assert torch.equal(embedding.embedder(cut, model)({"images": images}), expected)
    assert not torch.allclose(embedding.embedder(plain, model)(images), expected)
    told = [embedding.describe_model(cfg, nn.Linear(2, 2))["preprocessing"] for cfg in (plain, cut)]
    assert told[1] == told[0] | {"foreground": "foreground()"}


@pytest.mark.parametrize(
    "call", ["crop()", "foreground(3)", "foreground(edge=1)", "foreground(at='s9')"]
)
def test_another_call_is_wrong_use(call):
    with pytest.raises(UsageError, match="SEEK.FOREGROUND"):
        cutter(Spot(), call)


def test_a_model_without_maps_is_told():
    with pytest.raises(UsageError, match="Linear"):
        cutter(nn.Linear(2, 2), "foreground()")


def test_values_stay_finite_on_an_even_photo():
    image = torch.full((1, 3, 16, 16), 7.0)
    assert np.isfinite(cutter(Spot(), "foreground()")(image).numpy()).all()
