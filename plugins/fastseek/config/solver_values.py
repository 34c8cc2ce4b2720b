"""Values of SOLVER and SEEK that several readers have to understand alike."""

from __future__ import annotations

import math
from typing import Any

from ..errors import UsageError

SCHEDULES = ("MultiStepLR", "CosineAnnealingLR")


def phase_epochs(cfg: Any) -> int:
    """How many epochs a recipe trains: SOLVER.MAX_EPOCH, or the first SEEK.STOP_AT of them."""
    return int(min(cfg.SOLVER.MAX_EPOCH, cfg.SEEK.STOP_AT or cfg.SOLVER.MAX_EPOCH))


DECAY = "layer_decay"


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
            f'SEEK.RATES {entry!r}: expected "part of a name: factor", such as "backbone.net: 0.1"'
            ' or "layer_decay: 0.75"'
        )
    if fragment == DECAY and not 0 < factor <= 1:
        raise UsageError(f"SEEK.RATES {entry!r}: expected a decay above 0, up to 1")
    return fragment, factor
