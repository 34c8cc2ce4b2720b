"""The learning rates of a recipe, printed before anything is trained."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from ..config import recipe
from ..config.solver_values import phase_epochs
from ..data.fastreid_datasets import resolve
from ..errors import DataError, UsageError
from ..registry import SCHEDULES, Schedule, ShowsCorners, build
from .accumulation import Windows
from .recipe_border import build_factor, build_schedule

ROWS = 40
SUFFIXES = (".yml", ".yaml")


def table(
    what: str,
    iters_per_epoch: int = 0,
    opts: Sequence[str] = (),
    max_epoch: int = 120,
    base_lr: float = 3.5e-4,
) -> str:
    """Epoch (from 1), step (from 0), learning rate and its share of the base rate, where they
    change and at corners.

    Args:
        what: a recipe file, or a call string of SCHEDULES such as "warmup_steps(preset='repo')".
        iters_per_epoch: batches an epoch; 0 counts the recipe's images (a call string takes 100).
        opts: KEY VALUE changes to the recipe.
        max_epoch, base_lr: for a call string.

    Raises:
        UsageError: neither, or the schedule cannot be built. DataError: the images are not there to
            be counted.
    """
    if pathlib.Path(what).suffix not in SUFFIXES:
        if opts:
            raise UsageError(f"{what!r} is a call string and takes no KEY VALUE")
        iters = iters_per_epoch or 100
        made = build(what, SCHEDULES, iters_per_epoch=iters, max_epoch=max_epoch, base_lr=base_lr)
        return _print_rows(
            what,
            [base_lr * made.factor(step) for step in range(max_epoch * iters)],
            iters,
            base_lr,
            _corners(made),
        )
    cfg = recipe.load(what, opts)
    iters = iters_per_epoch or _count_batches(cfg)
    base, epochs = cfg.SOLVER.BASE_LR, phase_epochs(cfg)
    if not cfg.SEEK.SCHEDULE:
        name = f"SOLVER.SCHED {cfg.SOLVER.SCHED}"
        return _print_rows(
            f"{what}: {name}",
            stock_rates(cfg, iters)[: epochs * iters],
            iters,
            base,
            [cfg.SOLVER.WARMUP_ITERS],
        )
    schedule = build_factor(cfg, iters)
    updates = Windows(cfg.SEEK.ACCUMULATE, iters).updates_per_epoch
    rates = [base * schedule.factor(step) for step in range(epochs * updates)]
    return _print_rows(f"{what}: {cfg.SEEK.SCHEDULE}", rates, updates, base, _corners(schedule))


def _corners(schedule: Schedule) -> Sequence[int]:
    return schedule.corners if isinstance(schedule, ShowsCorners) else ()


def _count_batches(cfg: Any) -> int:
    try:
        found = [resolve(name, combine_all=cfg.DATASETS.COMBINEALL) for name in cfg.DATASETS.NAMES]
        images = sum(item.split == "train" for items in found for item in items)
    except DataError as error:
        raise DataError(f"{error}; or give --iters-per-epoch") from error
    if images < cfg.SOLVER.IMS_PER_BATCH:
        raise UsageError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} is more than the {images} training"
            " images"
        )
    return images // cfg.SOLVER.IMS_PER_BATCH


def stock_rates(cfg: Any, iters_per_epoch: int) -> list[float]:
    """The rate of every step under the schedule of a recipe, of the parameters without factors."""
    schedule = build_schedule(cfg, [cfg.SOLVER.BASE_LR], iters_per_epoch)
    steps = cfg.SOLVER.MAX_EPOCH * iters_per_epoch
    return [schedule.rates(step)[0] for step in range(steps)]


def _print_rows(
    title: str, rates: Sequence[float], iters: int, base: float, corners: Iterable[int]
) -> str:
    last = len(rates) - 1
    if last < 0:
        raise UsageError(f"{title}: there are no epochs to print")
    wanted = {0, last} | {
        step for corner in corners for step in (corner - 1, corner) if 0 <= step <= last
    }
    changes = [
        step for step in range(iters, len(rates), iters) if rates[step] != rates[step - iters]
    ]
    thin = max(1, len(changes) // ROWS)
    wanted |= {step for place, step in enumerate(changes) if place % thin == 0}
    lines = [
        f"{step // iters + 1:6d}  {step:9d}  {rates[step]:12.6g}  {rates[step] / base:10.6g}"
        for step in sorted(wanted)
    ]
    of = f"{iters} steps an epoch, {len(rates) // iters} epochs, base {base:g}"
    return "\n".join(
        [f"{title} ({of})", f"{'epoch':>6}  {'step':>9}  {'lr':>12}  {'of base':>10}", *lines]
    )
