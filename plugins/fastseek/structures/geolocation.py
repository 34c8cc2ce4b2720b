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

KEYS = ("lat", "lon", "date", "location_uncertainty")
RANGES = {"lat": (-90.0, 90.0), "lon": (-180.0, 180.0), "location_uncertainty": (0.0, math.inf)}


def geolocations_of(items: Sequence[Item]) -> np.ndarray | None:
    """Geolocations of items, float32 [N, 4], see `parse_geolocation`; None when no item tells any.

    Raises:
        DataError: a value that cannot be; names the image.
    """
    if isinstance(items, ItemTable) or not any(key in item.meta for item in items for key in KEYS):
        return None
    found = np.array([parse_geolocation(item.meta, item.id) for item in items], np.float32)
    return None if np.isnan(found[:, :3]).all() else found


def parse_geolocation(meta: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """Latitude and longitude in degrees, the date as a share of its year in [0, 1), the uncertainty
    in metres.

    What is missing or empty is NaN; of a place without one of its two coordinates both are.

    Args:
        meta: "lat", "lon", "date" (ISO 8601, with or without a time) and "location_uncertainty",
            all optional, as numbers or text.
        where: what an error calls it.

    Raises:
        DataError: not a number, not a date, or outside what can be.
    """
    lat, lon, uncertainty = (
        _number(meta.get(key), key, where) for key in ("lat", "lon", "location_uncertainty")
    )
    if math.isnan(lat) or math.isnan(lon):
        lat = lon = math.nan
    return lat, lon, _share_of_year(meta.get("date"), where), uncertainty


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
