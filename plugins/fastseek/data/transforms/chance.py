"""Random numbers for transforms: torch's global generator only, which the loader seeds for every sample."""

from __future__ import annotations

import torch


def uniform(low: float, high: float) -> float:
    """A number drawn evenly from [low, high)."""
    return float(torch.empty((), dtype=torch.float64).uniform_(low, high)) if low < high else float(low)


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
