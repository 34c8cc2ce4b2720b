"""Learning rates as functions of the step and the recipe alone.

Nothing of them is kept in a checkpoint: a run that goes on, be it with another SOLVER.MAX_EPOCH,
has at every step the rates that a whole run of its recipe has there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.optim import lr_scheduler

from .accumulation import Windows

from fastreid.solver.lr_scheduler import WarmupLR


class Schedule(Protocol):
    """The learning rates of a training."""

    def rates(self, step: int) -> list[float]:
        """The rate of every group of the optimizer in a step, counted from 0."""


class Factor(Protocol):
    """A member of SCHEDULES."""

    def factor(self, step: int) -> float:
        """What the learning rates are multiplied with in an update, counted from 0."""


class FactorSchedule:
    """A member of SCHEDULES over the groups of an optimizer.

    Args:
        schedule: gives the factor of an update.
        windows: which steps make which update; all steps of one have the same rates.
        base: what the factors multiply, of every group.
    """

    def __init__(self, schedule: Factor, windows: Windows, base: Sequence[float]) -> None:
        self._schedule, self._windows, self._base = schedule, windows, list(base)

    def rates(self, step: int) -> list[float]:
        """See `Schedule`."""
        factor = self._schedule.factor(self._windows.update(step))
        return [rate * factor for rate in self._base]


@dataclasses.dataclass(frozen=True)
class EpochSchedule:
    """What follows the warm-up in fast-reid: SOLVER.SCHED, which moves at the end of epochs.

    Args:
        kind: "MultiStepLR" or "CosineAnnealingLR", as in torch.optim.lr_scheduler.
        max_epoch: epochs of the whole training.
        delay: its first epochs, in which nothing moves.
        options: of the schedule: `milestones` and `gamma`, or `eta_min`.
    """

    kind: str
    max_epoch: int
    delay: int
    options: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Warmup:
    """The beginning of a training in fast-reid.

    Args:
        iters: steps of it, 0 for none.
        factor: of the learning rate in its first step.
        method: "linear", "constant" or "exp".
    """

    iters: int
    factor: float
    method: str


class SolverSchedule:
    """fast-reid's pair of schedules: a warm-up by the step, then one by the epoch.

    The second one counts the epochs after the warm-up and after the delay only, as fast-reid's
    hook does. Both are torch's and fast-reid's own, gone through once on an optimizer that trains
    nothing, so that the rates are theirs to the last digit.

    Args:
        epochs: the schedule by the epoch.
        warmup: the one by the step.
        iters_per_epoch: steps an epoch.
        base: the full learning rate of every group of the optimizer.
    """

    def __init__(
        self, epochs: EpochSchedule, warmup: Warmup, iters_per_epoch: int, base: Sequence[float]
    ) -> None:
        self._iters_per_epoch, self._warmup = iters_per_epoch, warmup
        needed = math.ceil(warmup.iters / iters_per_epoch)
        # The end of this epoch, from 1, is the first at which fast-reid moves its schedule.
        self._first = max(1, needed, epochs.delay + 1)
        length = max(1, epochs.max_epoch - max(needed, epochs.delay))
        self._table = _rates_by_move(epochs, length, base)
        self._warming = _warmup_rates(warmup, base) if warmup.iters > 0 else None

    def rates(self, step: int) -> list[float]:
        """See `Schedule`."""
        if self._warming is not None and step < self._warmup.iters:
            self._warming.last_epoch = step
            return [float(rate) for rate in self._warming.get_lr()]
        moves = max(0, step // self._iters_per_epoch - self._first + 1)
        return self._table[min(moves, len(self._table) - 1)]


def _rates_by_move(epochs: EpochSchedule, length: int, base: Sequence[float]) -> list[list[float]]:
    """The rates of all groups after 0, 1, 2 … moves of the schedule."""
    optimizer = _idle_optimizer(base)
    schedule: Any
    if epochs.kind == "MultiStepLR":
        schedule = lr_scheduler.MultiStepLR(optimizer, **epochs.options)
    else:
        schedule = lr_scheduler.CosineAnnealingLR(optimizer, T_max=length, **epochs.options)
    optimizer.step()  # torch warns of a schedule that moves before its optimizer
    table = []
    for _ in range(max(1, epochs.max_epoch)):
        table.append([group["lr"] for group in optimizer.param_groups])
        schedule.step()
    return table


def _warmup_rates(warmup: Warmup, base: Sequence[float]) -> WarmupLR:
    return WarmupLR(
        _idle_optimizer(base),
        warmup_factor=warmup.factor,
        warmup_iters=warmup.iters,
        warmup_method=warmup.method,
    )


def _idle_optimizer(base: Sequence[float]) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in base]
    return torch.optim.SGD(groups, lr=0.0)
