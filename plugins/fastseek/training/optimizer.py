"""Optimizer and learning rate schedule of a fast-reid recipe."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from ..config.solver_values import SCHEDULES
from ..errors import UsageError
from ..registry import SCHEDULES as PARTS
from ..registry import build
from . import lr_groups
from .accumulation import Windows

from fastreid.config import get_cfg
from fastreid.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from fastreid.solver.lr_scheduler import WarmupLR

logger = logging.getLogger("fastreid.fastseek")
UNUSED = (
    "SCHED",
    "STEPS",
    "GAMMA",
    "ETA_MIN_LR",
    "DELAY_EPOCHS",
    "WARMUP_ITERS",
    "WARMUP_FACTOR",
    "WARMUP_METHOD",
)


def build_optimizer(cfg: Any, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer SOLVER asks for, over the model's own parameters.

    fast-reid copies the parameters into flat buffers; since torch 2.0 its `zero_grad` then drops
    the only gradients the optimizer looks at, and nothing trains. Here parameters with equal
    settings share a group, which is as fast. Layers frozen for SOLVER.FREEZE_ITERS carry
    `freeze_status` "freeze"; the step drops their gradients.

    Raises:
        UsageError: unknown SOLVER.OPT, a value it refuses, or no trainable parameter.
    """
    solver = cfg.SOLVER
    if solver.BASE_LR < 0:
        raise UsageError(f"SOLVER.BASE_LR {solver.BASE_LR}: a learning rate is not negative")
    frozen = list(cfg.MODEL.FREEZE_LAYERS) if solver.FREEZE_ITERS > 0 else []
    groups = _merge(
        _rate_groups(
            cfg,
            model,
            get_default_optimizer_params(
                model,
                base_lr=solver.BASE_LR,
                weight_decay=solver.WEIGHT_DECAY,
                weight_decay_norm=solver.WEIGHT_DECAY_NORM,
                bias_lr_factor=solver.BIAS_LR_FACTOR,
                heads_lr_factor=solver.HEADS_LR_FACTOR,
                weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
                freeze_layers=frozen,
            ),
        )
    )
    if not groups:
        raise UsageError(
            "the model has no trainable parameter: check SEEK.FREEZE, bn_eval and "
            "MODEL.META_ARCHITECTURE"
        )
    if all(group["freeze_status"] == "freeze" for group in groups):
        logger.warning(
            "MODEL.FREEZE_LAYERS %s: fast-reid matches from the beginning of names, so this freezes"
            " every parameter for the first %d steps",
            frozen,
            solver.FREEZE_ITERS,
        )
    kind = maybe_add_gradient_clipping(cfg, _kind(solver.OPT))
    own = {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV} if solver.OPT == "SGD" else {}
    try:
        return kind(groups, **own)
    except ValueError as error:
        raise UsageError(f"SOLVER.OPT {solver.OPT} refuses its settings: {error}") from error


def _rate_groups(cfg: Any, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups, of one parameter each, with the factors of SEEK.RATES on top of fast-reid's
    own.
    """
    if not cfg.SEEK.RATES:
        return groups
    found = lr_groups.factors(model, cfg.SEEK.RATES)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    logger.info(
        "SEEK.RATES, factor of the learning rate and numbers in each part:\n%s",
        lr_groups.table(model, found),
    )
    return [group | {"lr": group["lr"] * found[names[id(group["params"][0])]]} for group in groups]


def _kind(name: str) -> type[torch.optim.Optimizer]:
    known = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    if name not in known:
        raise UsageError(f"SOLVER.OPT {name!r} is not one of {', '.join(sorted(known))}")
    return known[name]


def _merge(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One group for all parameters with the same settings, in order of appearance."""
    merged: dict[tuple, dict[str, Any]] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != "params"}
        found = merged.setdefault(tuple(sorted(settings.items())), {**settings, "params": []})
        found["params"].extend(group["params"])
    return list(merged.values())


def build_schedule(cfg: Any, iters_per_epoch: int) -> Any | None:
    """The schedule of SEEK.SCHEDULE over SOLVER.MAX_EPOCH epochs, None when there is none.

    Its steps are updates: with SEEK.ACCUMULATE n an epoch has a n-th of its batches, so that a
        warm-up "of 2000
    iterations" is as long as with one large batch. What SOLVER says of schedules is not used then,
    and that is told.

    Raises:
        UsageError: it cannot be built.
    """
    if not cfg.SEEK.SCHEDULE:
        return None
    usual = get_cfg().SOLVER
    ignored = [f"SOLVER.{key}" for key in UNUSED if cfg.SOLVER[key] != usual[key]]
    if ignored:
        logger.warning(
            "SEEK.SCHEDULE %s is followed; %s, set by the recipe or what it inherits, do nothing",
            cfg.SEEK.SCHEDULE,
            ", ".join(ignored),
        )
    windows = Windows(cfg.SEEK.ACCUMULATE, iters_per_epoch)
    return build(
        cfg.SEEK.SCHEDULE,
        PARTS,
        iters_per_epoch=windows.updates_per_epoch,
        max_epoch=cfg.SOLVER.MAX_EPOCH,
        base_lr=cfg.SOLVER.BASE_LR,
    )


def build_lr_scheduler(
    cfg: Any, optimizer: torch.optim.Optimizer, iters_per_epoch: int
) -> dict[str, Any]:
    """fast-reid's pair of schedules: "warmup_sched" by step, then "lr_sched" by epoch.

    The second one counts the epochs after the warm-up and after SOLVER.DELAY_EPOCHS only, as in
    fast-reid. SOLVER.WARMUP_ITERS counts batches, also with SEEK.ACCUMULATE. With SEEK.SCHEDULE
    there are none of them.

    Raises:
        UsageError: no full batch in the training data, or an unknown SOLVER.SCHED.
    """
    solver = cfg.SOLVER
    if iters_per_epoch < 1:
        raise UsageError(
            f"SOLVER.IMS_PER_BATCH {solver.IMS_PER_BATCH} is more than there are training photos"
        )
    if cfg.SEEK.SCHEDULE:
        return {}
    if solver.SCHED not in SCHEDULES:
        raise UsageError(f"SOLVER.SCHED {solver.SCHED!r} is not one of {', '.join(SCHEDULES)}")
    left = solver.MAX_EPOCH - max(
        math.ceil(solver.WARMUP_ITERS / iters_per_epoch), solver.DELAY_EPOCHS
    )
    if solver.WARMUP_ITERS >= solver.MAX_EPOCH * iters_per_epoch:
        logger.warning(
            "SOLVER.WARMUP_ITERS %d is as long as the whole training (%d steps): the full learning"
            " rate is never reached",
            solver.WARMUP_ITERS,
            solver.MAX_EPOCH * iters_per_epoch,
        )
    if solver.SCHED == "MultiStepLR":
        schedule: Any = lr_scheduler.MultiStepLR(
            optimizer, milestones=list(solver.STEPS), gamma=solver.GAMMA
        )
    else:
        schedule = lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=max(1, left), eta_min=solver.ETA_MIN_LR
        )
    if solver.WARMUP_ITERS <= 0:
        return {"lr_sched": schedule}
    warmup = WarmupLR(
        optimizer,
        warmup_factor=solver.WARMUP_FACTOR,
        warmup_iters=solver.WARMUP_ITERS,
        warmup_method=solver.WARMUP_METHOD,
    )
    return {"lr_sched": schedule, "warmup_sched": warmup}
