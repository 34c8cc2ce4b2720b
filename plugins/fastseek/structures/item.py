"""Item: one image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import DataError


@dataclasses.dataclass(frozen=True)
class Item:
    """One image and what is known of it.

    Args:
        path: the file.
        label: its class; "" when it has none.
        group: camera or session; "" when unknown.
        split: "train", "query", "gallery", "test" (query and gallery at once: each image asks for all
            others) or "distractor" (of the gallery, and answers no query).
        id: its name in embeddings and rankings; the path when not given.
        meta: whatever else is known: lat, lon, date, location_uncertainty (see `geolocation`), box,
            source, domain (of a benchmark of several), junk (True: counts neither as right nor as
            wrong), utm_east and utm_north (in meters) …
    """

    path: str
    label: str = ""
    group: str = ""
    split: str = "train"
    id: str = ""
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path:
            raise DataError(f"an item has no path: {self!r}")
        if not self.id:
            object.__setattr__(self, "id", self.path)
