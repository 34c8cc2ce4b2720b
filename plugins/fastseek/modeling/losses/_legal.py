"""Checks of the numbers that losses take."""

from __future__ import annotations

import math


def check_positive(**numbers: float) -> None:
    """Refuse numbers that are not above 0 and finite.

    Raises:
        ValueError: names the first of them.
    """
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be a positive number, got {number}")


def check_not_negative(**numbers: float) -> None:
    """Refuse numbers that are below 0 or not finite.

    Raises:
        ValueError: names the first of them.
    """
    for name, number in numbers.items():
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be 0 or more, got {number}")


def check_cosines(**numbers: float) -> None:
    """Refuse numbers that no cosine can be.

    Raises:
        ValueError: names the first of them.
    """
    for name, number in numbers.items():
        if not -1 <= number <= 1:
            raise ValueError(f"{name} is compared with cosines, from -1 to 1, got {number}")


def check_share(**numbers: float) -> None:
    """Refuse numbers that are not from 0 to 1.

    Raises:
        ValueError: names the first of them.
    """
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {number}")
