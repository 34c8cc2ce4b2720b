"""Values of SOLVER and SEEK that several readers have to understand alike."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from ..errors import UsageError
from ..registry import whole_argument

SCHEDULES = ("MultiStepLR", "CosineAnnealingLR")
LAYER_DECAY, STAGE_DECAY = "layer_decay", "stage_decay"
DECAYS = (LAYER_DECAY, STAGE_DECAY)
BLOCKS = re.compile(r"\s*blocks\s*\(.*\)\s*")
NUMBER = r"\d+(?:\.\d+)?"
EXPECTATION = re.compile(
    rf"\s*(?P<metric>\S.*?)\s+(?P<value>{NUMBER})\s*(?:\+-|\+/-|±)\s*(?P<margin>{NUMBER})\s*"
)


class Expectation(NamedTuple):
    """What a line of SEEK.EXPECT wants of one metric, in percent."""

    metric: str
    value: float
    margin: float


def phase_epochs(cfg: Any) -> int:
    """How many epochs a recipe trains: SOLVER.MAX_EPOCH, or the first SEEK.STOP_AT of them."""
    return int(min(cfg.SOLVER.MAX_EPOCH, cfg.SEEK.STOP_AT or cfg.SOLVER.MAX_EPOCH))


def parse_rate(entry: str) -> tuple[str, float]:
    """ "backbone: 0.1" as ("backbone", 0.1).

    Raises:
        UsageError: it has another form.
    """
    fragment, colon, text = entry.rpartition(":")
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    fragment = fragment.strip()
    if not colon or not fragment or not 0 <= factor < math.inf:
        raise UsageError(
            f'SEEK.RATES {entry!r}: expected "part of a name: factor", such as "backbone.net: 0.1",'
            ' "blocks(15): 0.1", "layer_decay: 0.75" or "stage_decay: 0.5"'
        )
    if fragment in DECAYS and not 0 < factor <= 1:
        raise UsageError(f"SEEK.RATES {entry!r}: expected a decay above 0, up to 1")
    if BLOCKS.fullmatch(fragment):
        whole_argument(fragment)
    return fragment, factor


def parse_expectation(line: str) -> Expectation:
    """ "map(100) 61.2 +- 0.5" as a metric, its value and how far it may be off, in percent.

    Raises:
        UsageError: it has another form.
    """
    found = EXPECTATION.fullmatch(line) if isinstance(line, str) else None
    if found is None:
        raise UsageError(f'SEEK.EXPECT {line!r}: expected "map(100) 61.2 +- 0.5", in percent')
    return Expectation(found["metric"], float(found["value"]), float(found["margin"]))
