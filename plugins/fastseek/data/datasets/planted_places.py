"""Images of any data set with invented places and dates, to measure what a model makes of them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

import numpy as np

from ...registry import DATASETS, build


@DATASETS.register()
class PlantedPlaces:
    """A data set whose classes have homes: every image gets a place near its class's home and a
    date in its season.

    Homes are drawn evenly on the sphere, seasons evenly over the year. An image lies about `spread`
    degrees from home in any direction; its date has a standard deviation of `days`. Some images
    lack place and date; of some the place is wrong, and its uncertainty says so. An image that
    stands in two splits has one place. The pixels are untouched.

    With `shuffled` the same places and dates are dealt out to the images at random, train, query
        and gallery alike: the
    distribution is the same and tells nothing of the class, so what a model still gains is no
    signal.

    Args:
        of: call string of DATASETS.
        seed: of homes, images and the shuffle.
        spread: degrees of a great circle.
        days: of the season.
        homes: classes that share a home; they cannot be told apart by place.
        missing: share of the images without place and date.
        rough: share of the images with a place drawn anywhere, and an uncertainty of 1,000 km.
        shuffled: see above.

    Raises:
        ValueError: an illegal number. UsageError, DataError: as the data set.

    Example: planted_places(of='grocery()', homes=2)
    """

    def __init__(
        self,
        of: str,
        seed: int = 0,
        spread: float = 10.0,
        days: float = 30.0,
        homes: int = 1,
        missing: float = 0.1,
        rough: float = 0.05,
        shuffled: bool = False,
    ) -> None:
        if spread < 0 or days < 0 or homes < 1 or missing < 0 or rough < 0 or missing + rough > 1:
            raise ValueError(
                "spread and days must not be negative, homes positive, missing and rough shares,"
                f" got {spread}, {days}, {homes}, {missing} and {rough}"
            )
        found = build(of, DATASETS).items
        images = {item.id: item for item in found}
        # Sorted: the order in which a set lists its images decides nothing.
        ids = sorted(images)
        random = np.random.default_rng(seed)
        metas = _metas([images[name].label for name in ids], random, spread, days, homes)
        _spoil(metas, random, missing, rough)
        order = random.permutation(len(ids)) if shuffled else np.arange(len(ids))
        told = {name: metas[row] for name, row in zip(ids, order.tolist(), strict=True)}
        self.items = [
            dataclasses.replace(item, meta={**item.meta, **told[item.id]}) for item in found
        ]


def _metas(
    labels: Sequence[str], random: np.random.Generator, spread: float, days: float, homes: int
) -> list[dict[str, object]]:
    classes = sorted(set(labels))
    home = _unit(random.normal(size=(-(-len(classes) // homes), 3)))
    season = random.random(len(classes))
    number = {label: row for row, label in enumerate(random.permutation(classes).tolist())}
    rows = np.array([number[label] for label in labels])
    # Two parts of a step on the plane that touches the sphere; 1.5 keeps its length finite.
    step = np.tan(np.minimum(np.deg2rad(spread), 1.5)) / np.sqrt(2)
    points = _unit(home[rows // homes] + step * random.normal(size=(len(rows), 3)))
    share = (season[rows] + days / 365 * random.normal(size=len(rows))) % 1
    return [_meta(point, day) for point, day in zip(points, share.tolist(), strict=True)]


def _unit(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _meta(point: np.ndarray, share: float, metres: float = 100.0) -> dict[str, object]:
    lat, lon = (
        np.rad2deg(np.arcsin(np.clip(point[2], -1, 1))),
        np.rad2deg(np.arctan2(point[1], point[0])),
    )
    date = datetime.date(2021, 1, 1) + datetime.timedelta(days=int(365 * share))
    return {
        "lat": round(float(lat), 5),
        "lon": round(float(lon), 5),
        "date": date.isoformat(),
        "location_uncertainty": metres,
    }


def _spoil(
    metas: list[dict[str, object]], random: np.random.Generator, missing: float, rough: float
) -> None:
    """Take place and date from some, and put others far off with an uncertainty that says so."""
    chance = random.random(len(metas))
    wrong = _unit(random.normal(size=(len(metas), 3)))
    for row, drawn in enumerate(chance.tolist()):
        if drawn < missing:
            metas[row] = {}
        elif drawn < missing + rough:
            metas[row] = _meta(wrong[row], 0, 1_000_000.0) | {"date": metas[row]["date"]}
