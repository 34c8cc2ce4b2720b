"""Place and date as numbers a network can take."""

import math

import pytest
import torch

from fastseek.modeling.layers.geo_encoding import GeoEncoding, GeoNet

NAN = math.nan


def encoded(encoding, *rows, **kwargs):
    torch.manual_seed(0)
    places = GeoEncoding(encoding, **kwargs)
    torch.nn.init.normal_(places.no_place)
    torch.nn.init.normal_(places.no_date)
    return places, places(torch.tensor(rows)).detach()


def gap(encoding, one, other):
    _, found = encoded(encoding, (*one, 0.3, 5.0), (*other, 0.3, 5.0))
    return float((found[0] - found[1]).norm())


@pytest.mark.parametrize("encoding", ["sphere", "wrap"])
def test_the_date_line_and_new_year_are_no_edges(encoding):
    """finegrained row 74."""
    assert gap(encoding, (10, 179.9999), (10, -179.9999)) < 1e-4
    _, found = encoded(encoding, (0.0, 0.0, 0.99999, NAN), (0.0, 0.0, 0.0, NAN))
    assert float((found[0] - found[1]).norm()) < 1e-3


def test_the_poles_coincide_in_the_usual_encoding_and_are_opposite_on_the_sphere():
    """finegrained row 74, trap 23."""
    assert gap("wrap", (90, 20), (-90, 20)) < 1e-5
    assert gap("sphere", (90, 20), (-90, 20)) == pytest.approx(2, abs=1e-5)


def test_at_a_pole_every_longitude_is_one_place_on_the_sphere_only():
    """finegrained row 74, trap 23."""
    assert gap("sphere", (90, -120), (90, 60)) < 1e-6 < 1 < gap("wrap", (90, -120), (90, 60))


def test_distance_on_the_sphere_is_the_chord_of_the_angle_between_two_places():
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        lat, lon = (
            torch.rand(2, 2, generator=generator) * torch.tensor([[180.0], [360.0]])
            - torch.tensor([[90.0], [180.0]])
        ).tolist()
        a, b = ((math.radians(lat[n]), math.radians(lon[n])) for n in range(2))
        north, east = math.sin((a[0] - b[0]) / 2), math.sin((a[1] - b[1]) / 2)
        haversine = north**2 + math.cos(a[0]) * math.cos(b[0]) * east**2
        assert gap("sphere", (lat[0], lon[0]), (lat[1], lon[1])) == pytest.approx(
            2 * math.sqrt(haversine), abs=1e-4
        )


def test_wrap_is_the_published_formula():
    """Mac Aodha et al., 2019: lon/180, lat/90, date to [-1, 1], then sine and cosine of pi times
    each.
    """
    _, found = encoded("wrap", (48.0, -123.0, 0.4, 3.0))
    lon, lat, date = -123 / 180, 48 / 90, 2 * 0.4
    angles = [
        math.sin(math.pi * lon),
        math.sin(math.pi * lat),
        math.cos(math.pi * lon),
        math.cos(math.pi * lat),
        math.sin(math.pi * date),
        math.cos(math.pi * date),
    ]
    assert found[0].tolist() == pytest.approx(angles, abs=1e-5)


@pytest.mark.parametrize("encoding", ["sphere", "wrap"])
def test_what_is_missing_is_a_trained_vector_before_any_sine(encoding):
    """finegrained row 74, trap 23."""
    places, found = encoded(
        encoding,
        (NAN, NAN, 0.3, NAN),
        (10.0, 20.0, NAN, NAN),
        (NAN, 20.0, NAN, NAN),
        (10.0, 20.0, 0.3, NAN),
    )
    width = places.dim - 2
    assert torch.equal(found[0, :width], places.no_place) and torch.equal(
        found[0, width:], found[3, width:]
    )
    assert torch.equal(found[1, width:], places.no_date) and torch.equal(
        found[1, :width], found[3, :width]
    )
    assert torch.equal(found[2], torch.cat([places.no_place, places.no_date]))


def test_a_place_known_too_roughly_is_missing_and_its_date_stays():
    """finegrained row 74."""
    places, found = encoded(
        "sphere", (10.0, 20.0, 0.3, 10000.0), (10.0, 20.0, 0.3, 10001.0), (10.0, 20.0, 0.3, NAN)
    )
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1, :3], places.no_place) and torch.equal(found[1, 3:], found[0, 3:])
    _, rough = encoded("sphere", (10.0, 20.0, 0.3, 10001.0), uncertainty=20000.0)
    assert torch.equal(rough[0], found[0])


@pytest.mark.parametrize("encoding", ["sphere", "wrap"])
def test_missing_values_give_no_nan_in_values_or_gradients(encoding):
    """finegrained row 74, trap 23."""
    net = GeoNet(GeoEncoding(encoding), hidden=8, blocks=2)
    rows = torch.tensor(
        [
            (NAN, NAN, NAN, NAN),
            (90.0, NAN, 0.5, 1.0),
            (-90.0, 180.0, NAN, NAN),
            (1.0, 2.0, 0.1, 9e9),
        ],
        requires_grad=True,
    )
    found = net(rows)
    found.square().sum().backward()
    assert found.isfinite().all() and rows.grad.isfinite().all()
    assert all(one.grad.isfinite().all() for one in net.parameters())
    assert net.places.no_place.grad.abs().sum() > 0 and net.places.no_date.grad.abs().sum() > 0


@pytest.mark.parametrize("kwargs", [{"encoding": "flat"}, {"uncertainty": 0}])
def test_settings_that_cannot_be_are_refused(kwargs):
    with pytest.raises(ValueError, match="must be"):
        GeoEncoding(**kwargs)
