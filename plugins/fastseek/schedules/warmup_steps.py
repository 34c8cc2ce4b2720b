"""WarmupSteps."""

from __future__ import annotations

from collections.abc import Sequence

from ..registry import SCHEDULES

EPOCHS, MILESTONES, DROP = 10, (40, 70), 0.1
ITERATIONS, DECAY = 2000, 0.99998
PRESETS = ("paper", "repo", "digix")
PACES = ("epoch", "step")


@SCHEDULES.register()
class WarmupSteps:
    """A linear warm-up, then drops at milestones, in the three forms the ReID baseline is known in.

    - "paper": epoch e (from 1) has the factor min(e / `epochs`, 1), and `gamma` times that after
    each milestone: the
      first epoch with the lower rate is the one that follows it (Luo et al. 2019, as its author
      corrected the text).
    - "repo": epoch e has 0.01 (1 - e / `epochs`) + e / `epochs` while e < `epochs`, then 1, and the
    rate is already
      lower IN the epoch a milestone names (the authors' program).
    - "digix": step i (from 0) has (1 - `minimum`) i / `iterations` while i < `iterations`; every
    later step has `gamma`
      times the factor before it (DIGIX 2020, second place). The minimum is subtracted and never
      added back.

    Args:
        preset: one of the three.
        epochs: length of the warm-up, for "paper" and "repo"; 10 when not given, 0 for none.
        milestones: epochs of the drops, for "paper" and "repo"; (40, 70) when not given.
        gamma: what a drop ("digix": a step) multiplies with; 0.1 ("digix": 0.99998) when not given.
        iterations: length of the warm-up in steps, for "digix"; 2000 when not given.
        minimum: "digix": its lowest rate as a share of the highest.
        by: "epoch" holds the rate of the warm-up for an epoch, "step" raises it every step and
            meets "epoch" at the end of every epoch; for "paper" and "repo".
        iters_per_epoch: steps an epoch.

    Raises:
        ValueError: an unknown preset, a number that cannot be, or an argument its preset does not
            have.

    Source: Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPRW
        2019 (arXiv 1903.07071)
    Example: warmup_steps(preset='paper', milestones=(40, 70))
    """

    def __init__(
        self,
        preset: str = "paper",
        epochs: int | None = None,
        milestones: Sequence[int] | None = None,
        gamma: float | None = None,
        iterations: int | None = None,
        minimum: float = 0.0,
        by: str = "epoch",
        *,
        iters_per_epoch: int,
    ) -> None:
        if preset not in PRESETS or by not in PACES:
            raise ValueError(
                f"preset {preset!r} by {by!r}: expected one of {PRESETS} by one of {PACES}"
            )
        ours = {"iterations": iterations, "minimum": minimum or None}
        theirs = {"epochs": epochs, "milestones": milestones, "by": None if by == "epoch" else by}
        foreign = [
            name
            for name, value in (theirs if preset == "digix" else ours).items()
            if value is not None
        ]
        if foreign:
            raise ValueError(f"preset {preset!r} has no {', '.join(foreign)}")
        self.preset, self.by, self.minimum, self.iters_per_epoch = (
            preset,
            by,
            minimum,
            iters_per_epoch,
        )
        self.epochs = EPOCHS if epochs is None else epochs
        self.milestones = tuple(sorted(MILESTONES if milestones is None else milestones))
        self.iterations = ITERATIONS if iterations is None else iterations
        self.gamma = gamma if gamma is not None else DECAY if preset == "digix" else DROP
        if (
            self.epochs < 0
            or self.iterations < 1
            or not 0 < self.gamma <= 1
            or not 0 <= minimum < 1
        ):
            raise ValueError(
                f"epochs {self.epochs}, iterations {self.iterations}, gamma {self.gamma}, minimum "
                f"{minimum}: expected at least 0, at least 1, above 0 to 1, from 0 to below 1"
            )
        if any(
            not isinstance(one, int) or isinstance(one, bool) or one < 1 for one in self.milestones
        ):
            raise ValueError(f"milestones {milestones!r}: expected epochs, whole numbers from 1")

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied with in a step."""
        return self._by_step(step) if self.preset == "digix" else self._by_epoch(step)

    def _by_step(self, step: int) -> float:
        last = self.iterations - 1
        warm = (1 - self.minimum) * min(step, last) / self.iterations
        return warm * self.gamma ** max(0, step - last)

    def _by_epoch(self, step: int) -> float:
        epoch = step // self.iters_per_epoch + 1
        late = 1 if self.preset == "paper" else 0
        drops = sum(epoch >= milestone + late for milestone in self.milestones)
        return (
            self._warm(epoch if self.by == "epoch" else (step + 1) / self.iters_per_epoch)
            * self.gamma**drops
        )

    def _warm(self, epoch: float) -> float:
        if epoch >= self.epochs:
            return 1.0
        share = epoch / self.epochs
        return share if self.preset == "paper" else 0.01 * (1 - share) + share

    @property
    def corners(self) -> list[int]:
        """The steps where warm-up and drops begin and end."""
        if self.preset == "digix":
            return [1, self.iterations - 1, self.iterations]
        late = 1 if self.preset == "paper" else 0
        starts = [self.epochs, *(milestone + late for milestone in self.milestones)]
        return [(epoch - 1) * self.iters_per_epoch for epoch in starts if epoch >= 1]
