"""Laws of an unchanged fast-reid recipe's INPUT flags."""

import random

import numpy as np
import pytest
import torch
from torchvision import transforms as T

import toy
from fastseek.data.builders import build_transforms

from fastreid.data.transforms import ToTensor
from fastreid.data.transforms import build_transforms as theirs

FLAGS = ("CROP", "FLIP", "PADDING", "CJ", "AUTOAUG", "AUGMIX", "REA", "RPT")


def applied(transform, seed, image=None):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return transform(image or toy.photo(2, 2, 60)).clone()


@pytest.fixture
def plain(cfg):
    cfg.SEEK.TRAIN, cfg.SEEK.TEST = [], []
    cfg.INPUT.SIZE_TRAIN, cfg.INPUT.SIZE_TEST = [48, 24], [40, 20]
    cfg.INPUT.CROP.SIZE = [32, 16]
    return cfg


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_does_what_it_does_in_fast_reid(plain, flag):
    unset = build_transforms(plain, True)
    plain.INPUT[flag].ENABLED = True
    if "PROB" in plain.INPUT[flag]:
        plain.INPUT[flag].PROB = 1.0
    mine, other = build_transforms(plain, True), theirs(plain, is_train=True)
    results = [
        (applied(mine, seed), applied(other, seed), applied(unset, seed)) for seed in range(8)
    ]
    for one, two, _ in results:
        assert torch.equal(one, two)
    changed = [
        one.shape != without.shape or not torch.equal(one, without) for one, _, without in results
    ]
    assert any(changed) or flag == "RPT"  # random patch first fills its pool with a hundred images


@pytest.mark.filterwarnings("ignore")
def test_without_flags_an_image_is_resized_and_no_more(plain):
    assert applied(build_transforms(plain, True), 0).shape == (3, 48, 24)
    assert torch.equal(
        applied(build_transforms(plain, False), 0), applied(theirs(plain, is_train=False), 0)
    )
    assert applied(build_transforms(plain, False), 0).shape == (3, 40, 20)


@pytest.mark.filterwarnings("ignore")
def test_affine_works_and_is_the_change_fast_reid_meant(plain):
    plain.INPUT.AFFINE.ENABLED = True
    twin = T.Compose(
        [
            T.Resize([48, 24], interpolation=3),
            T.RandomAffine(10, scale=(0.9, 1.1), shear=0.1),
            ToTensor(),
        ]
    )
    for seed in range(8):
        assert torch.equal(applied(build_transforms(plain, True), seed), applied(twin, seed))
    assert plain.INPUT.AFFINE.ENABLED


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flag", ["FLIP", "AUGMIX", "REA"])
def test_affine_stands_where_fast_reid_has_it(plain, flag):
    plain.INPUT[flag].ENABLED = True
    names = [type(part).__name__ for part in build_transforms(plain, True).transforms]
    plain.INPUT.AFFINE.ENABLED = True
    place = {"FLIP": 2, "AUGMIX": 1, "REA": 1}[flag]
    assert [type(part).__name__ for part in build_transforms(plain, True).transforms] == [
        *names[:place],
        "RandomAffine",
        *names[place:],
    ]


def test_our_own_lists_take_the_place_of_the_flags(cfg):
    cfg.INPUT.CROP.ENABLED = True
    assert applied(build_transforms(cfg, True), 0).shape == (3, 24, 24)
    assert applied(build_transforms(cfg, False), 0).shape == (3, 24, 24)
