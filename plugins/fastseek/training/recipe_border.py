"""Where a recipe ends: it is cut into the plain arguments of what trains.

Behind this border, in the optimizer, the schedules, the step, the hooks and the checkpoints,
nothing reads `cfg`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..config.edits import replace_values
from ..config.solver_values import SCHEDULES
from ..distributed.fully_sharded import shard_fully
from ..distributed.process_group import inner
from ..errors import UsageError
from ..inference import embedding
from ..modeling.freezing import Frozen, freeze
from ..modeling.layers.class_shard import shards
from ..registry import SCHEDULES as PARTS
from ..registry import build
from . import optimizer as optimizers
from .accumulation import Windows
from .attention_crops import AttentionCrops, attended_part
from .schedule import EpochSchedule, FactorSchedule, Schedule, SolverSchedule, Warmup
from .step import AmpStep, Step

from fastreid.config import get_cfg
from fastreid.solver.build import maybe_add_gradient_clipping

logger = logging.getLogger("fastreid.fastseek")
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
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
    """The optimizer SOLVER and SEEK.RATES ask for, see `optimizer.build_optimizer`.

    Raises:
        UsageError: unknown SOLVER.OPT, a value it refuses, or no trainable parameter; or one that
            looks at whole weights, where some are shared out.
    """
    solver = cfg.SOLVER
    if solver.BASE_LR < 0:
        raise UsageError(f"SOLVER.BASE_LR {solver.BASE_LR}: a learning rate is not negative")
    kind = optimizers.optimizer_class(solver.OPT)
    optimizers.check_shards(kind, model)
    clip = solver.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE == "norm" and shards(model):
        kind = optimizers.clip_shared_norms(kind, model, clip.CLIP_VALUE, clip.NORM_TYPE)
    else:
        kind = maybe_add_gradient_clipping(cfg, kind)
    grouping = {
        "base_lr": solver.BASE_LR,
        "weight_decay": solver.WEIGHT_DECAY,
        "weight_decay_norm": solver.WEIGHT_DECAY_NORM,
        "weight_decay_bias": solver.WEIGHT_DECAY_BIAS,
        "bias_lr_factor": solver.BIAS_LR_FACTOR,
        "heads_lr_factor": solver.HEADS_LR_FACTOR,
        "freeze_layers": list(cfg.MODEL.FREEZE_LAYERS) if solver.FREEZE_ITERS > 0 else [],
    }
    own = {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV} if solver.OPT == "SGD" else {}
    try:
        made = optimizers.build_optimizer(model, kind, grouping, cfg.SEEK.RATES, own)
    except ValueError as error:
        raise UsageError(f"SOLVER.OPT {solver.OPT} refuses its settings: {error}") from error
    if all(group["freeze_status"] == "freeze" for group in made.param_groups):
        logger.warning(
            "MODEL.FREEZE_LAYERS %s: fast-reid matches from the beginning of names, so this freezes"
            " every parameter for the first %d steps",
            grouping["freeze_layers"],
            solver.FREEZE_ITERS,
        )
    return made


def prepare_model(cfg: Any, model: nn.Module) -> Frozen:
    """Freeze what SEEK.FREEZE names and share out what SEEK.FSDP asks for, in place, before the
    optimizer is built.

    Raises:
        UsageError: an entry of SEEK.FREEZE fits nothing, or SEEK.CLASS_METRICS wants the scores of
            all classes where no process has them.
    """
    if cfg.SEEK.CLASS_METRICS and shards(model):
        raise UsageError(
            "SEEK.CLASS_METRICS needs the scores of all classes, and shard=True shares these out over"
            " the processes: leave one of them out, and evaluate the saved weights in one process"
        )
    frozen = freeze(model, cfg.SEEK.FREEZE)
    if cfg.SEEK.FSDP:
        shard_fully(model)
    return frozen


def build_schedule(cfg: Any, base: Sequence[float], iters_per_epoch: int) -> Schedule:
    """The learning rates of SEEK.SCHEDULE, else those of SOLVER.

    With SEEK.SCHEDULE the steps are updates: with SEEK.ACCUMULATE n an epoch has an n-th of its
    batches, so that a warm-up of 2000 iterations is as long as with one large batch. What SOLVER
    says of schedules is not used then, and that is logged. Without it SOLVER.WARMUP_ITERS counts
    batches, also with SEEK.ACCUMULATE.

    Args:
        cfg: the recipe.
        base: the full learning rate of every group of the optimizer.
        iters_per_epoch: batches an epoch.

    Raises:
        UsageError: no full batch in the training data, an unknown SOLVER.SCHED, or a SEEK.SCHEDULE
            that cannot be built.
    """
    if iters_per_epoch < 1:
        raise UsageError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} is more than there are training"
            " images"
        )
    if cfg.SEEK.SCHEDULE:
        windows = Windows(cfg.SEEK.ACCUMULATE, iters_per_epoch)
        return FactorSchedule(build_factor(cfg, iters_per_epoch), windows, base)
    return _solver_schedule(cfg.SOLVER, base, iters_per_epoch)


def build_factor(cfg: Any, iters_per_epoch: int) -> Any:
    """The member of SCHEDULES that SEEK.SCHEDULE names, over SOLVER.MAX_EPOCH epochs.

    Raises:
        UsageError: it cannot be built.
    """
    usual = get_cfg().SOLVER
    ignored = [f"SOLVER.{key}" for key in UNUSED if cfg.SOLVER[key] != usual[key]]
    if ignored:
        logger.warning(
            "SEEK.SCHEDULE %s is followed; %s, set by the recipe or what it inherits, do nothing",
            cfg.SEEK.SCHEDULE,
            ", ".join(ignored),
        )
    return build(
        cfg.SEEK.SCHEDULE,
        PARTS,
        iters_per_epoch=Windows(cfg.SEEK.ACCUMULATE, iters_per_epoch).updates_per_epoch,
        max_epoch=cfg.SOLVER.MAX_EPOCH,
        base_lr=cfg.SOLVER.BASE_LR,
    )


def _solver_schedule(solver: Any, base: Sequence[float], iters_per_epoch: int) -> SolverSchedule:
    if solver.SCHED not in SCHEDULES:
        raise UsageError(f"SOLVER.SCHED {solver.SCHED!r} is not one of {', '.join(SCHEDULES)}")
    if solver.WARMUP_ITERS >= solver.MAX_EPOCH * iters_per_epoch:
        logger.warning(
            "SOLVER.WARMUP_ITERS %d is as long as the whole training (%d steps): the full learning"
            " rate is never reached",
            solver.WARMUP_ITERS,
            solver.MAX_EPOCH * iters_per_epoch,
        )
    by_steps = {"milestones": list(solver.STEPS), "gamma": solver.GAMMA}
    options = by_steps if solver.SCHED == "MultiStepLR" else {"eta_min": solver.ETA_MIN_LR}
    return SolverSchedule(
        EpochSchedule(solver.SCHED, solver.MAX_EPOCH, solver.DELAY_EPOCHS, options),
        Warmup(solver.WARMUP_ITERS, solver.WARMUP_FACTOR, solver.WARMUP_METHOD),
        iters_per_epoch,
        base,
    )


def build_step(
    cfg: Any,
    model: nn.Module,
    loader: Any,
    optimizer: torch.optim.Optimizer,
    windows: Windows,
    frozen: Frozen,
) -> Step:
    """The step SOLVER.AMP and SEEK.AMP_DTYPE ask for.

    float16 needs CUDA; without it the run goes on in full precision and says so.

    Raises:
        UsageError: unknown SEEK.AMP_DTYPE.
    """
    if cfg.SEEK.AMP_DTYPE not in DTYPES:
        raise UsageError(f"SEEK.AMP_DTYPE {cfg.SEEK.AMP_DTYPE!r} is not one of {', '.join(DTYPES)}")
    dtype = DTYPES[cfg.SEEK.AMP_DTYPE]
    on_cpu = next(model.parameters()).device.type == "cpu"
    mixed = cfg.SOLVER.AMP.ENABLED
    if mixed and on_cpu and dtype == torch.float16:
        logger.info(
            "SOLVER.AMP in float16 needs CUDA: training in full precision (SEEK.AMP_DTYPE bf16"
            " works on a CPU)"
        )
        mixed = False
    freeze_iters = cfg.SOLVER.FREEZE_ITERS if len(cfg.MODEL.FREEZE_LAYERS) else 0
    make = functools.partial(AmpStep, dtype=dtype) if mixed else Step
    return make(model, loader, optimizer, freeze_iters, windows, frozen, cfg.SEEK.ON_NAN)


def build_attention_crops(cfg: Any, step: Step) -> AttentionCrops | None:
    """The hook for the `attended_crop` of a recipe, None without one.

    Raises:
        UsageError: as `attended_part`; or it stands with SEEK.CROPS, or the model has no maps.
    """
    reader = getattr(step.data_loader, "images", None)
    part = attended_part(getattr(getattr(reader, "transform", None), "parts", ()))
    if part is None:
        return None
    if cfg.SEEK.CROPS:
        raise UsageError("SEEK.CROPS and attended_crop both cut images: leave one of them out")
    if not hasattr(inner(step.model), "branches"):
        raise UsageError(
            "attended_crop looks at feature maps: MODEL.META_ARCHITECTURE must be Seeker"
        )
    look_at = {"SEEK.TEST": [f"resize({tuple(part.look)})"], "SEEK.CACHE": ""}
    whole = replace_values(cfg, look_at)
    items = step.data_loader.dataset.items
    look = functools.partial(embedding.in_memory, whole, step.model, items)
    return AttentionCrops(part, step, look, f"{cfg.OUTPUT_DIR}/attention", cfg.SEED)
