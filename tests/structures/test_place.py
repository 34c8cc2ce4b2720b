"""Where and when a photo was taken."""

import datetime
import math

import numpy as np
import pytest

from fastseek.errors import DataError
from fastseek.structures import Item, geolocations_of, parse_geolocation
from fastseek.structures.geolocation import count_geolocations


def test_numbers_and_text_tell_the_same_place():
    """finegrained row 74."""
    text = parse_geolocation(
        {"lat": "41.1", "lon": "-8.5", "date": "2021-07-02T12:00:00", "location_uncertainty": "30"},
        "a",
    )
    assert text == parse_geolocation(
        {
            "lat": 41.1,
            "lon": -8.5,
            "date": datetime.datetime(2021, 7, 2, 12),
            "location_uncertainty": 30,
        },
        "a",
    )
    assert text[:2] == (41.1, -8.5) and text[2] == pytest.approx(0.5) and text[3] == 30


@pytest.mark.parametrize(
    ("date", "share"),
    [
        ("2021-01-01", 0),
        ("2021-12-31", 364 / 365),
        ("2020-12-31", 365 / 366),
        ("2021-05-31T00:00:00+02:00", 150 / 365),
    ],
)
def test_a_date_is_its_share_of_its_own_year(date, share):
    assert parse_geolocation({"date": date}, "a")[2] == pytest.approx(share)


def test_half_a_place_is_none():
    """finegrained row 74."""
    for meta in (
        {"lat": 1.0},
        {"lon": 1.0},
        {"lat": 1.0, "lon": ""},
        {"lat": math.nan, "lon": 2.0},
        {},
    ):
        assert np.isnan(parse_geolocation(meta, "a")).all()


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"lat": 91}, "-90 to 90"),
        ({"lon": "-180.5"}, "-180 to 180"),
        ({"lat": "north"}, "a number"),
        ({"date": "31.05.2021"}, "ISO 8601"),
        ({"location_uncertainty": -1}, "0 to inf"),
        ({"lat": math.inf}, "-90 to 90"),
    ],
)
def test_what_cannot_be_is_named(meta, says):
    with pytest.raises(DataError, match=f"photo 7: .*{says}"):
        parse_geolocation(meta, "photo 7")


def test_items_have_places_only_when_one_tells_any():
    plain = [Item("a"), Item("b", meta={"lat": "", "lon": "", "note": "x"})]
    assert (
        geolocations_of(plain) is None
        and geolocations_of(plain[:1]) is None
        and geolocations_of([]) is None
    )
    found = geolocations_of([*plain, Item("c", meta={"date": "2021-01-01"})])
    assert found.shape == (3, 4) and found.dtype == np.float32
    assert np.isnan(found[:2]).all() and found[2, 2] == 0


def test_F54_the_names_of_inaturalists_export_tell_the_same_place():
    ours = {"lat": "41.1", "lon": "-8.5", "date": "2021-07-02", "location_uncertainty": "30"}
    names = ("latitude", "longitude", "observed_on", "positional_accuracy")
    theirs = dict(zip(names, ours.values(), strict=True))
    assert parse_geolocation(theirs, "a") == parse_geolocation(ours, "a")
    assert parse_geolocation({**theirs, "lat": "", "lon": None}, "a") == parse_geolocation(
        ours, "a"
    )
    assert parse_geolocation({**theirs, **ours}, "a") == parse_geolocation(ours, "a")
    with pytest.raises(DataError, match="a: lat and latitude tell different values, 3 and 41.1"):
        parse_geolocation({**theirs, "lat": "3"}, "a")
    with pytest.raises(DataError, match="-90 to 90"):
        parse_geolocation({"latitude": "91"}, "a")


def test_F54_images_with_a_place_and_with_a_date_are_counted():
    metas = [{"lat": 1, "lon": 2}, {"observed_on": "2021-05-31"}, {"lat": 1}, {}, {"longitude": 2}]
    items = [Item(f"{n}.jpg", meta=meta) for n, meta in enumerate(metas)]
    assert count_geolocations(geolocations_of(items)) == (1, 1)
    assert count_geolocations(geolocations_of(items[3:])) == (0, 0)
