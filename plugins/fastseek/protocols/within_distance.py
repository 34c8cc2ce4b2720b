"""Place recognition: right is what was taken near by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..registry import PROTOCOLS, unparse
from ..structures import GroundTruth, Item, Task, parse_geolocation
from ..structures.ground_truth import LabeledSide
from ..structures.task import needed_depth, with_protocol
from ._sides import figures, two_sides

DEFINITION = "right is every gallery image that was taken at most {meters:g} m from the query"
EARTH = 6_371_008.8  # mean radius in meters
UTM = ("utm_east", "utm_north")


@PROTOCOLS.register()
class WithinDistance:
    """Queries ask for a gallery image that was taken at most so many meters away: recall@k of visual
    place recognition.

    Places are the meta "utm_east" and "utm_north" of all images (meters of one zone, flat distance),
    or else "lat" and "lon" of all (degrees, great-circle distance). Queries without a right image are
    counted apart and left out of the mean.

    Args:
        meters: the largest distance that is right.
        recall: the ks of recall@k.

    Source: Torii et al., Visual Place Recognition with Repetitive Structures, CVPR 2013; Arandjelović et
        al., NetVLAD, CVPR 2016 (arXiv 1511.07247)
    Example: within_distance(meters=25)
    """

    def __init__(self, meters: float = 25.0, recall: tuple[int, ...] = (1, 5, 10)) -> None:
        self.meters, self.recall = float(meters), tuple(recall)

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """The one task.

        Raises:
            DataError: there are no queries, there is no gallery, or an image has no place.
        """
        queries, gallery = two_sides(items)
        flat = all(key in queries[0].meta for key in UTM)
        places = [_read_places(side, flat) for side in (queries, gallery)]
        near = find_near(places[0], places[1], self.meters, flat)
        sides = [
            LabeledSide([item.id for item in side], [item.label for item in side])
            for side in (queries, gallery)
        ]
        told = unparse("within_distance", [], {"meters": self.meters})
        truth = with_protocol(
            GroundTruth.from_lists(sides[0], sides[1], near),
            told,
            DEFINITION.format(meters=self.meters),
        )
        metrics = (figures("recall", self.recall),)
        depth = needed_depth(truth, max(self.recall))
        return [Task("", queries, gallery, truth, metrics, depth)]


def find_near(
    queries: np.ndarray, gallery: np.ndarray, meters: float, flat: bool
) -> list[np.ndarray]:
    """For every query the rows of the gallery that are at most so far away.

    Args:
        queries, gallery: [Q, 2], [G, 2] float64: north and east in meters, or latitude and longitude
            in degrees.
        meters: the largest distance.
        flat: whether places are in meters.
    """
    order = np.argsort(gallery[:, 0], kind="stable")
    along = gallery[order, 0]
    # No place further north or south than this can be near; a little more, for rounding.
    band = meters if flat else np.degrees(meters / EARTH)
    first = np.searchsorted(along, queries[:, 0] - band * (1 + 1e-9) - 1e-9, "left")
    last = np.searchsorted(along, queries[:, 0] + band * (1 + 1e-9) + 1e-9, "right")
    found = []
    for place, start, stop in zip(queries, first, last, strict=True):
        rows = order[start:stop]
        away = _measure(place, gallery[rows], flat)
        found.append(np.sort(rows[away <= meters]))
    return found


def _measure(place: np.ndarray, others: np.ndarray, flat: bool) -> np.ndarray:
    """[N] meters between one place and others."""
    if flat:
        straight: np.ndarray = np.hypot(*(others - place).T)
        return straight
    (lat, lon), (lats, lons) = np.radians(place), np.radians(others).T
    inner = (
        np.sin((lats - lat) / 2) ** 2 + np.cos(lat) * np.cos(lats) * np.sin((lons - lon) / 2) ** 2
    )
    arc: np.ndarray = 2 * EARTH * np.arcsin(np.sqrt(np.minimum(inner, 1)))
    return arc


def _read_places(items: Sequence[Item], flat: bool) -> np.ndarray:
    return np.array([_read_place(item, flat) for item in items], np.float64).reshape(-1, 2)


def _read_place(item: Item, flat: bool) -> tuple[float, float]:
    """North and east, or latitude and longitude."""
    keys = UTM if flat else ("lat", "lon")
    try:
        if flat:
            east, north = (float(item.meta[key]) for key in UTM)
        else:
            north, east = parse_geolocation(item.meta, item.id)[:2]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{item.id}: expected meta {' and '.join(keys)} in numbers") from error
    if not (np.isfinite(north) and np.isfinite(east)):
        raise DataError(f"{item.id}: has no place; expected meta {' and '.join(keys)}")
    return north, east
