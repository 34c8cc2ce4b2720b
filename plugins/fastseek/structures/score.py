"""Score: one figure."""

from __future__ import annotations

import dataclasses

import numpy as np

from .archive import Passport


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """One figure, what it rests on and how it was made.

    Args:
        name: as in a table, "map(100)".
        value: the figure, a share in 0..1.
        per_query: [Q] float64, NaN for a query that was not counted; None when the figure is no mean (GAP).
        protocol: what was counted and what was left out.
    """

    name: str
    value: float
    per_query: np.ndarray | None = None
    protocol: Passport = dataclasses.field(default_factory=dict)
