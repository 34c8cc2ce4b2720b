"""Piecewise."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from ..registry import SCHEDULES


@SCHEDULES.register()
class Piecewise:
    """A constant factor up to each of several epochs, such as BatchDrop's stairs.

    Args:
        points: (last epoch, factor) pairs, epochs counted from 1 and rising: `piecewise(((4, 0.1),
            (9, 0.2)))` has 0.1 in epochs 1 to 4 and 0.2 in 5 to 9. The last factor holds for all
            that follow.
        iters_per_epoch: steps an epoch.

    Raises:
        ValueError: no pair, epochs that do not rise, or a negative factor.

    Example: piecewise(((4, 0.1), (40, 1.0), (60, 0.1)))
    """

    def __init__(self, points: Sequence[Sequence[float]], *, iters_per_epoch: int) -> None:
        if not points or any(len(point) != 2 for point in points):
            raise ValueError(
                f"points {points!r}: expected (last epoch, factor) pairs, such as ((10, 0.1), (40,"
                " 1.0))"
            )
        self.ends, self.factors = (
            [point[0] for point in points],
            [float(point[1]) for point in points],
        )
        if self.ends[0] < 1 or any(
            one >= two for one, two in zip(self.ends, self.ends[1:], strict=False)
        ):
            raise ValueError(f"points {points!r}: the epochs must rise, from 1 on")
        if min(self.factors) < 0 or max(self.factors) == 0:
            raise ValueError(f"points {points!r}: a factor is not negative, and not all are 0")
        self.iters_per_epoch = iters_per_epoch

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied with in a step."""
        place = bisect.bisect_left(self.ends, step // self.iters_per_epoch + 1)
        return self.factors[min(place, len(self.factors) - 1)]

    @property
    def corners(self) -> list[int]:
        """The first step of every piece but the first."""
        return [int(end) * self.iters_per_epoch for end in self.ends[:-1]]
