"""Where and when an image was taken, out of an item's meta."""

from __future__ import annotations

import calendar
import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from .item import Item
from .item_table import ItemTable

# What an item's meta calls them, and what iNaturalist's export does.
NAMES = {
    "lat": "latitude",
    "lon": "longitude",
    "date": "observed_on",
    "location_uncertainty": "positional_accuracy",
}
KEYS = (*NAMES, *NAMES.values())
RANGES = {"lat": (-90.0, 90.0), "lon": (-180.0, 180.0), "location_uncertainty": (0.0, math.inf)}


def geolocations_of(items: Sequence[Item]) -> np.ndarray | None:
    """Geolocations of items, float32 [N, 4], see `parse_geolocation`; None when no item tells any.

    Raises:
        DataError: a value that cannot be; names the image.
    """
    if isinstance(items, ItemTable):
        if not items.details.meta.keys() & set(KEYS):
            return None
    elif not any(key in item.meta for item in items for key in KEYS):
        return None
    found = np.array([parse_geolocation(item.meta, item.id) for item in items], np.float32)
    return None if np.isnan(found[:, :3]).all() else found


def parse_geolocation(meta: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """Latitude and longitude in degrees, the date as a share of its year in [0, 1), the uncertainty
    in metres.

    What is missing or empty is NaN; of a place without one of its two coordinates both are.

    Args:
        meta: "lat", "lon", "date" (ISO 8601, with or without a time) and "location_uncertainty",
            all optional, as numbers or text; or under the names of iNaturalist's export,
            "latitude", "longitude", "observed_on" and "positional_accuracy".
        where: what an error calls it.

    Raises:
        DataError: not a number, not a date, or outside what can be; or two names tell two values.
    """
    lat, lon, uncertainty = (
        _number(_value(meta, key, where), key, where)
        for key in ("lat", "lon", "location_uncertainty")
    )
    if math.isnan(lat) or math.isnan(lon):
        lat = lon = math.nan
    return lat, lon, _share_of_year(_value(meta, "date", where), where), uncertainty


def count_geolocations(places: np.ndarray | None) -> tuple[int, int]:
    """How many images have a place, and how many a date.

    Args:
        places: what `geolocations_of` gave.
    """
    if places is None:
        return 0, 0
    return int((~np.isnan(places[:, 0])).sum()), int((~np.isnan(places[:, 2])).sum())


def _value(meta: Mapping[str, Any], key: str, where: str) -> Any:
    """What a meta tells under a name of ours or of the export, "" when nothing."""
    told = {name: meta[name] for name in (key, NAMES[key]) if meta.get(name) is not None}
    values = [value for value in told.values() if value != ""]
    if len({str(value) for value in values}) > 1:
        raise DataError(
            f"{where}: {' and '.join(told)} tell different values, {' and '.join(map(str, values))}:"
            " leave one of the two out"
        )
    return values[0] if values else ""


def _number(value: Any, key: str, where: str) -> float:
    if value is None or value == "":
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: {key} is {value!r}; expected a number, or nothing where it is unknown"
        ) from error
    low, high = RANGES[key]
    if not (math.isnan(number) or low <= number <= high):
        raise DataError(f"{where}: {key} is {value!r}; expected {low:g} to {high:g}")
    return number


def _share_of_year(value: Any, where: str) -> float:
    if value is None or value == "":
        return math.nan
    try:
        day = datetime.datetime.fromisoformat(str(value).strip())
    except ValueError as error:
        raise DataError(
            f"{where}: date is {value!r}; expected ISO 8601, such as 2021-05-31, or nothing"
        ) from error
    passed = day.replace(tzinfo=None) - datetime.datetime(day.year, 1, 1)
    return passed / datetime.timedelta(days=365 + calendar.isleap(day.year))
