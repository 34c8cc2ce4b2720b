"""Invented places: a signal of the class, or none."""

import collections

import numpy as np
import pytest

from fastseek.data.datasets import manifest, planted_places  # noqa: F401
from fastseek.errors import UsageError
from fastseek.registry import DATASETS, build
from fastseek.structures import geolocations_of


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """200 images of 10 classes, train, and 60 of them in the gallery again."""
    path = tmp_path_factory.mktemp("planted") / "t.csv"
    rows = [f"{n:03d}.jpg,c{n % 10},train" for n in range(200)] + [
        f"{n:03d}.jpg,c{n % 10},gallery" for n in range(60)
    ]
    path.write_text("path,label,split\n" + "\n".join(rows))
    return str(path)


def items(table, **kwargs):
    said = "".join(f", {key}={value!r}" for key, value in kwargs.items())
    return build(f"planted_places(of={f'manifest({table!r})'!r}{said})", DATASETS).items


def points(found):
    lat, lon = (
        np.deg2rad(geolocations_of(found)[:, 0].astype(float)),
        np.deg2rad(geolocations_of(found)[:, 1].astype(float)),
    )
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)


def own_and_other(found):
    """Mean angle to images of the own class and to others, degrees."""
    where, labels = points(found), np.array([item.label for item in found])
    angle = np.rad2deg(np.arccos(np.clip(where @ where.T, -1, 1)))
    same = labels[:, None] == labels[None]
    return angle[same & ~np.eye(len(found), dtype=bool)].mean(), angle[~same].mean()


def test_images_of_a_class_stand_together_and_shuffled_ones_do_not(table):
    """finegrained row 75."""
    own, other = own_and_other(items(table, spread=5.0, missing=0, rough=0)[:200])
    assert own < 12 and other > 45
    own, other = own_and_other(items(table, spread=5.0, missing=0, rough=0, shuffled=True)[:200])
    assert abs(own - other) < 8


def test_shuffling_deals_out_the_same_places(table):
    planted, shuffled = items(table)[:200], items(table, shuffled=True)[:200]
    bags = [
        collections.Counter(str(sorted(item.meta.items())) for item in found)
        for found in (planted, shuffled)
    ]
    assert bags[0] == bags[1] and [i.meta for i in planted] != [i.meta for i in shuffled]


@pytest.mark.parametrize("shuffled", [False, True])
def test_an_image_has_one_place_in_every_split_by_seed(table, shuffled):
    found = items(table, shuffled=shuffled)
    assert len(found) == 260 and [item.meta for item in found[:60]] == [
        item.meta for item in found[200:]
    ]
    assert [item.meta for item in found] == [item.meta for item in items(table, shuffled=shuffled)]
    assert [item.meta for item in found] != [
        item.meta for item in items(table, shuffled=shuffled, seed=1)
    ]


def test_the_asked_shares_are_missing_or_known_roughly(table):
    """finegrained row 74."""
    found = geolocations_of(items(table, missing=0.3, rough=0.2)[:200])
    assert np.isnan(found[:, :3]).all(1).mean() == pytest.approx(0.3, abs=0.08)
    assert (found[:, 3] > 10000).mean() == pytest.approx(0.2, abs=0.08)
    assert not np.isnan(found[found[:, 3] > 10000]).any()


def test_classes_that_share_a_home_cannot_be_told_apart_by_it(table):
    found = items(table, spread=1.0, homes=2, missing=0, rough=0)[:200]
    centres = np.stack(
        [points([item for item in found if item.label == f"c{n}"]).mean(0) for n in range(10)]
    )
    angle = np.rad2deg(np.arccos(np.clip(centres @ centres.T, -1, 1)))
    assert ((angle < 2).sum(1) == 2).all()


@pytest.mark.parametrize("kwargs", [{"spread": -1}, {"homes": 0}, {"missing": 0.7, "rough": 0.5}])
def test_settings_that_cannot_be_are_usage_errors(table, kwargs):
    with pytest.raises(UsageError):
        items(table, **kwargs)
