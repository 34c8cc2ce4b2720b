"""Rows of one table are of one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ArtefactError


def check_one_protocol(rows: Sequence[Mapping[str, Any]]) -> None:
    """Check that rows may stand in one table, which sets their figures side by side.

    Raises:
        ArtefactError: two rows name different protocols; names both.
    """
    told = {str(one["protocol"]): str(one["name"]) for one in rows if "protocol" in one}
    if len(told) > 1:
        (first, name), (second, other) = list(told.items())[:2]
        raise ArtefactError(
            f"row {name!r} is of the protocol {first}, row {other!r} of {second}: their figures cannot"
            " be compared in one table"
        )
