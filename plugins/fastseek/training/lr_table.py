"""The learning rates of a recipe, printed before anything is trained."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..config import recipe
from ..config.solver_values import phase_epochs
from ..data.fastreid_datasets import resolve
from ..errors import DataError, UsageError
from ..registry import SCHEDULES, build
from . import optimizer as solver
from .accumulation import Windows

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
        iters_per_epoch: batches an epoch; 0 counts the recipe's photos (a call string takes 100).
        opts: KEY VALUE changes to the recipe.
        max_epoch, base_lr: for a call string.

    Raises:
        UsageError: neither, or the schedule cannot be built. DataError: the photos are not there to
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
            getattr(made, "corners", ()),
        )
    cfg = recipe.load(what, opts)
    iters = iters_per_epoch or _count_batches(cfg)
    made = solver.build_schedule(cfg, iters)
    base, epochs = cfg.SOLVER.BASE_LR, phase_epochs(cfg)
    if made is None:
        name = f"SOLVER.SCHED {cfg.SOLVER.SCHED}"
        return _print_rows(
            f"{what}: {name}",
            stock_rates(cfg, iters)[: epochs * iters],
            iters,
            base,
            [cfg.SOLVER.WARMUP_ITERS],
        )
    updates = Windows(cfg.SEEK.ACCUMULATE, iters).updates_per_epoch
    rates = [base * made.factor(step) for step in range(epochs * updates)]
    return _print_rows(
        f"{what}: {cfg.SEEK.SCHEDULE}", rates, updates, base, getattr(made, "corners", ())
    )


def _count_batches(cfg: Any) -> int:
    try:
        found = [resolve(name, combine_all=cfg.DATASETS.COMBINEALL) for name in cfg.DATASETS.NAMES]
        photos = sum(item.split == "train" for items in found for item in items)
    except DataError as error:
        raise DataError(f"{error}; or give --iters-per-epoch") from error
    if photos < cfg.SOLVER.IMS_PER_BATCH:
        raise UsageError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} is more than the {photos} training"
            " photos"
        )
    return photos // cfg.SOLVER.IMS_PER_BATCH


def stock_rates(cfg: Any, iters_per_epoch: int) -> list[float]:
    """The rate of every step under fast-reid's own schedules, found by going through them."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=cfg.SOLVER.BASE_LR)
    made = solver.build_lr_scheduler(cfg, optimizer, iters_per_epoch)
    optimizer.step()  # torch warns of a schedule that moves before its optimizer
    rates = []
    for epoch in range(cfg.SOLVER.MAX_EPOCH):
        for _ in range(iters_per_epoch):
            rates.append(optimizer.param_groups[0]["lr"])
            if len(rates) <= cfg.SOLVER.WARMUP_ITERS:
                made["warmup_sched"].step()
        # fast-reid counts one step more here than there were
        if len(rates) + 1 > cfg.SOLVER.WARMUP_ITERS and epoch + 1 > cfg.SOLVER.DELAY_EPOCHS:
            made["lr_sched"].step()
    return rates


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
