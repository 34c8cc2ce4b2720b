"""Random numbers for transforms: torch's global generator only, which the loader seeds for every
sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def uniform(low: float, high: float) -> float:
    """A number drawn evenly between low and high."""
    return low + (high - low) * float(torch.rand((), dtype=torch.float64))


def integer(low: int, high: int) -> int:
    """A whole number drawn evenly from low..high, both included."""
    return int(torch.randint(low, high + 1, ()))


def happens(p: float) -> bool:
    """True with probability p."""
    return float(torch.rand(())) < p


def probability(p: float) -> float:
    """`p`, checked.

    Raises:
        ValueError: outside 0..1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p={p}: expected a probability from 0 to 1")
    return float(p)


def span(name: str, values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """A pair (from, to), checked.

    Raises:
        ValueError: not two rising numbers inside low..high.
    """
    if len(values) != 2 or not low <= values[0] <= values[1] <= high:
        raise ValueError(f"{name}={values}: expected two rising numbers from {low} to {high}")
    return float(values[0]), float(values[1])
