"""Which map of the backbone a branch reads."""

from __future__ import annotations

from collections.abc import Mapping


def of_map(channels: Mapping[str, int], name: str) -> int:
    """The channels of a map.

    Raises:
        ValueError: the backbone gives no map of that name; lists those it gives.
    """
    if name not in channels:
        raise ValueError(
            f"the backbone gives no map {name!r}, only {', '.join(sorted(channels))}: name another,"
            " or add the stage to the backbone"
        )
    return channels[name]
