"""WarmupCosine."""

from __future__ import annotations

import math

from ..registry import SCHEDULES

PACES = ("step", "epoch")


@SCHEDULES.register()
class WarmupCosine:
    """A linear warm-up from `start` to `peak`, then half a cosine from `peak` to `end` over the
    rest of the training.

    The landmark winners train so with one warm-up epoch. `warmup_cosine(start=1, peak=10,
    by='epoch')` is the form of the 2020 winners' program: the rate of the recipe grows tenfold in
    the first epoch and then falls to 0 over the other max_epoch - 1.

    Args:
        epochs: length of the warm-up; 0 for none, parts of an epoch are legal.
        start: factor of the first step.
        peak: factor where the warm-up ends.
        end: factor the cosine would reach one step after the last.
        by: "step" changes the rate every step, "epoch" holds it for an epoch.
        iters_per_epoch, max_epoch: steps an epoch, and epochs of the schedule.

    Raises:
        ValueError: a number that cannot be.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017
        (arXiv 1608.03983), for the cosine
    Example: warmup_cosine(epochs=1)
    """

    def __init__(
        self,
        epochs: float = 1,
        start: float = 0.0,
        peak: float = 1.0,
        end: float = 0.0,
        by: str = "step",
        *,
        iters_per_epoch: int,
        max_epoch: int,
    ) -> None:
        if by not in PACES:
            raise ValueError(f"by {by!r}: expected one of {PACES}")
        if (
            not all(math.isfinite(one) and one >= 0 for one in (epochs, start, peak, end))
            or peak == 0
        ):
            raise ValueError(
                f"epochs {epochs}, start {start}, peak {peak}, end {end}: expected numbers from 0,"
                " a peak above 0"
            )
        self.start, self.peak, self.end, self.by, self.iters_per_epoch = (
            start,
            peak,
            end,
            by,
            iters_per_epoch,
        )
        self.total = max_epoch * iters_per_epoch
        # A training shorter than the warm-up never reaches the cosine.
        self.warm = round(epochs * iters_per_epoch)

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied with in a step."""
        if self.by == "epoch":
            step -= step % self.iters_per_epoch
        if step < self.warm:
            return self.start + (self.peak - self.start) * step / self.warm
        done = min(1.0, (step - self.warm) / max(1, self.total - self.warm))
        return self.end + (self.peak - self.end) * (1 + math.cos(math.pi * done)) / 2

    @property
    def corners(self) -> list[int]:
        """The end of the warm-up and the middle of the cosine."""
        return [self.warm, (self.warm + self.total) // 2]
