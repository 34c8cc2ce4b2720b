"""Ranges of numbers that a key may take."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `above` leaves `low` itself out."""

    low: float
    high: float = float("inf")
    above: bool = False

    def __contains__(self, value: Any) -> bool:
        return bool((self.low < value if self.above else self.low <= value) and value <= self.high)

    def __str__(self) -> str:
        if self.high < float("inf"):
            return f"from {self.low:g} to {self.high:g}"
        return f"above {self.low:g}" if self.above else f"at least {self.low:g}"


POSITIVE, COUNT, ATLEAST0, SHARE = Range(0, above=True), Range(1), Range(0), Range(0, 1)
