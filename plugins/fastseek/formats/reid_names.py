"""File names of re-identification, which tell identity and camera (Market-1501, DukeMTMC-reID,
VeRi-776, CUHK03-NP, MARS).
"""

from __future__ import annotations

import re
from typing import NamedTuple

JUNK = "-1"  # a detection that shows nobody well enough to count, for or against


class Names(NamedTuple):
    """How a benchmark names its images.

    Args:
        benchmark: what people call it.
        pattern: its first group is the identity, the second the camera.
        example: one of its names.
    """

    benchmark: str
    pattern: re.Pattern[str]
    example: str

    def read(self, name: str) -> tuple[str, str] | None:
        """Identity and camera, leading zeros no part of either; None for a name of another kind."""
        found = self.pattern.match(name)
        return (str(int(found[1])), str(int(found[2]))) if found else None


MARKET = Names("Market-1501", re.compile(r"(-?\d+)_c(\d+)"), "0002_c1s1_000451_03.jpg")
DUKE = Names("DukeMTMC-reID", re.compile(r"(-?\d+)_c(\d+)"), "0005_c2_f0046985.jpg")
VERI = Names("VeRi-776", re.compile(r"(\d+)_c(\d+)"), "0001_c001_00016450_0.jpg")
CUHK03_NP = Names("CUHK03-NP", re.compile(r"(-?\d+)_c(\d+)"), "0001_c1_1.png")
