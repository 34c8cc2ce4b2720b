"""FastSeek's parts under fast-reid's own trainer.

    from fastreid.engine import DefaultTrainer
    from fastseek.training import WithParts

    class Trainer(WithParts, DefaultTrainer):
        pass

A project that has its own loaders or evaluator takes `PartsHook` and the builders it wants singly.
"""

from __future__ import annotations

import logging
import pathlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn

from ..config.edits import replace_values
from ..data.loaders import TestLoader
from ..distributed import process_group
from ..errors import UsageError
from ..io.paths import PathLike
from ..modeling.build import synchronize_norms
from ..modeling.freezing import Frozen, freeze
from ..modeling.layers.trainer_contract import (
    EVALUATION,
    LOADER,
    TRAINER,
    announce_length,
    announce_step,
    asks_for_sync,
    has_own_norms,
    keys_set,
)
from . import evaluation, random_state, recipe_border
from .checkpoint import Checkpointer
from .class_index import write_classes
from .hooks import ScheduleHook
from .optimizer import group_rates
from .sanity_check import MovedGuard
from .trainer import Trainer

from fastreid.engine import DefaultTrainer, hooks
from fastreid.engine.train_loop import HookBase

logger = logging.getLogger("fastreid.fastseek")
# Only fastseek's own training step does these.
ONLY_OURS = ("ACCUMULATE", "EMA", "FSDP", "STOP_AT", "ON_NAN", "EXPECT")
BY_TEST = (
    "VIEWS",
    "FOREGROUND",
    "CLASS_METRICS",
    "VOTE",
)  # fast-reid's `test` calls the model once
OWN_TRAINER = "train with `fastseek train`, or leave them out"


class PartsHook(HookBase):
    """What parts of FastSeek need of a trainer: the number of every step, and somebody who looks
    whether the rest of the recipe is followed.

    Register it with any trainer of fast-reid's, before the training. It seeds the run with SEED,
    sets the loader to the step the run goes on from, keeps what SEEK.FREEZE names as it is, and
    refuses what nobody in this trainer does.

    Raises:
        UsageError: before the first step, keys of the recipe that this trainer passes over, or an
            optimizer that does not hold the model's own parameters and so trains nothing.
    """

    def __init__(self) -> None:
        self._modules: Sequence[nn.Module] = ()
        self._frozen = Frozen()

    def before_train(self) -> None:
        """Look at the trainer, and get ready."""
        trainer, cfg = self.trainer, self.trainer.cfg
        # fast-reid's evaluation hook asks for it after a training that has not begun, too
        trainer.epoch = trainer.start_epoch - 1
        model = process_group.inner(trainer.model)
        _refuse_passed_over(trainer, cfg)
        _refuse_copied_parameters(model, trainer.optimizer)
        _refuse_own_norms(model, cfg)
        self._modules = list(model.modules())
        announce_length(self._modules, trainer.max_iter)
        self._frozen = _freeze_again(trainer.model, cfg.SEEK.FREEZE)
        if hasattr(trainer.data_loader, "seek"):
            trainer.data_loader.seek(trainer.start_iter)
        if not trainer.start_iter:
            random_state.seed_all(cfg.SEED)

    def before_step(self) -> None:
        """Tell the parts which step comes."""
        self._frozen.apply()
        announce_step(self._modules, self.trainer.iter)


def _refuse_passed_over(trainer: Any, cfg: Any) -> None:
    """Name the keys that nobody in this trainer follows."""
    honored = honored_by(trainer.data_loader) | honored_by(trainer.optimizer)
    honored |= {"SEEK.FREEZE"}
    if isinstance(_hook_of(trainer, ScheduleHook), ScheduleHook):
        honored |= {"SEEK.SCHEDULE"}
    if not cfg.MODEL.WEIGHTS or isinstance(trainer, WithParts):
        honored |= {"SEEK.DROP", "SEEK.FIT"}
    if not (cfg.SOLVER.AMP.ENABLED and cfg.SEEK.AMP_DTYPE != "fp16"):
        honored |= {"SEEK.AMP_DTYPE"}
    honored |= _honored_in_evaluation(trainer, cfg)
    left = [key for key in keys_set(cfg, LOADER, TRAINER, EVALUATION) if key not in honored]
    only_ours = [key for key in left if key.removeprefix("SEEK.") in ONLY_OURS]
    if only_ours:
        raise UsageError(
            f"{', '.join(only_ours)} would do nothing under {trainer.__class__.__name__}, whose step is"
            f" fast-reid's: {OWN_TRAINER}"
        )
    if left:
        raise UsageError(
            f"{', '.join(left)} would do nothing under {trainer.__class__.__name__}: put"
            " fastseek.training.WithParts before DefaultTrainer among its bases, or override the"
            " method that builds it (docs/upstream.md)"
        )


def honored_by(part: Any) -> set[str]:
    """The keys that something one of our builders made follows."""
    return {f"SEEK.{key}" for key in getattr(part, "honors", ())}


def _honored_in_evaluation(trainer: Any, cfg: Any) -> set[str]:
    """The keys of EVALUATION that loader, evaluator and `test` of a trainer follow."""
    keys = {f"SEEK.{key}" for key in EVALUATION}
    kind = trainer.__class__  # `type` of what a hook holds is a weak proxy
    if not len(cfg.DATASETS.TESTS) or not keys & set(keys_set(cfg, EVALUATION)):
        return keys
    if _same_method(kind, "test", DefaultTrainer):
        keys -= {f"SEEK.{key}" for key in BY_TEST}
    if _same_method(kind, "build_evaluator", DefaultTrainer):
        return keys - {f"SEEK.{key}" for key in evaluation.OF_EVALUATOR}
    loader, evaluator = kind.build_evaluator(cfg, cfg.DATASETS.TESTS[0])
    if not isinstance(loader, TestLoader):
        keys -= {f"SEEK.{key}" for key in evaluation.OF_LOADER}
    if not evaluation.follows_recipe(evaluator):
        keys -= {f"SEEK.{key}" for key in evaluation.OF_EVALUATOR}
    return keys


def _same_method(kind: type, name: str, other: type) -> bool:
    mine, theirs = getattr(kind, name), getattr(other, name)
    return bool(mine.__func__ is theirs.__func__)


def _hook_of(trainer: Any, kind: type) -> HookBase | None:
    return next((hook for hook in trainer._hooks if isinstance(hook, kind)), None)


def _refuse_copied_parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    if not held & {id(one) for one in model.parameters()}:
        raise UsageError(
            "the optimizer holds copies of the model's parameters (fast-reid's contiguous=True),"
            " and since torch 2.0 that trains nothing: override build_optimizer with"
            " fastseek.training.build_optimizer, or pass contiguous=False"
        )


def _refuse_own_norms(model: nn.Module, cfg: Any) -> None:
    if asks_for_sync(cfg) and has_own_norms(model):
        raise UsageError(
            "NORM syncBN: fast-reid builds a Seeker's batch norms for one process: put"
            " fastseek.training.WithParts before DefaultTrainer"
        )


def _freeze_again(model: nn.Module, entries: Sequence[str]) -> Frozen:
    """What is frozen; DDP has to know of it when it wraps the model, so before that."""
    inner = process_group.inner(model)
    before = {name for name, one in inner.named_parameters() if one.requires_grad}
    frozen = freeze(inner, entries)
    late = sorted(before & set(frozen.names))
    if late and inner is not model:
        raise UsageError(
            f"SEEK.FREEZE: {late[0]} and {len(late) - 1} others were not frozen when the model was"
            " wrapped for several processes: put fastseek.training.WithParts before DefaultTrainer"
        )
    return frozen


def build_train_loader(cfg: Any) -> Any:
    """The training batches of this process as SEEK.SAMPLER, TRAIN, CROPS and CACHE say, or
    fast-reid's own keys, for `build_train_loader` of a trainer.

    Without SEEK.CLASSES it writes OUTPUT_DIR/classes.json, the classes in the order of the targets.
    """
    loader = Trainer.build_train_loader(cfg)
    loader.honors = tuple(LOADER)
    if not cfg.SEEK.CLASSES and cfg.OUTPUT_DIR:
        write_classes(pathlib.Path(cfg.OUTPUT_DIR) / "classes.json", loader.dataset)
    return loader


def build_optimizer(cfg: Any, model: nn.Module) -> tuple[torch.optim.Optimizer, None]:
    """The optimizer over the model's own parameters, with SEEK.RATES, for `build_optimizer` of a
    trainer.
    """
    optimizer, nothing = Trainer.build_optimizer(cfg, model)
    optimizer.honors = ("RATES",)  # type: ignore[attr-defined]
    return optimizer, nothing


def build_test_loader(cfg: Any, dataset_name: str) -> tuple[Any, int]:
    """The loader over queries, then gallery, as SEEK.TEST says, and the number of queries, for
    `build_test_loader` of a trainer.
    """
    return evaluation.build_test_loader(cfg, dataset_name)


def build_evaluator(cfg: Any, dataset_name: str, output_dir: str | None = None) -> tuple[Any, Any]:
    """The test loader and the evaluator of SEEK.EVALUATOR, for `build_evaluator` of a trainer."""
    loader, num_query = build_test_loader(cfg, dataset_name)
    return loader, evaluation.build_evaluator(cfg, loader, num_query)


class WithParts:
    """Put it before `DefaultTrainer` among the bases of a trainer: a recipe of FastSeek is then
    followed there, and fast-reid's step, checkpoints, hooks and writers stay what they are.

    What fast-reid's step cannot do (SEEK.ACCUMULATE, EMA, FSDP, STOP_AT, ON_NAN "skip", AMP_DTYPE "bf16",
    EXPECT) is refused. Methods may be overridden as in fast-reid.

    Args:
        cfg: fast-reid's config with our keys; `fastseek.register(cfg)` adds them.

    Raises:
        UsageError: the recipe cannot be trained so; names the keys.
    """

    cfg: Any
    updated = True  # every step of fast-reid's ends with an update

    def __init__(self, cfg: Any) -> None:
        values = {
            "SEED": random_state.draw_seed(cfg.SEED),
            "SEEK.CLASSES": "",  # those of this run are written before the model is built
        }
        # "after the last epoch only", at which fast-reid's hook fails
        if cfg.TEST.EVAL_PERIOD <= 0:
            values["TEST.EVAL_PERIOD"] = max(1, cfg.SOLVER.MAX_EPOCH)
        made = replace_values(cfg, values)
        pathlib.Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
        super().__init__(made)  # type: ignore[call-arg]
        _refuse_passed_over(self, self.cfg)

    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        """See `build_train_loader`."""
        return build_train_loader(cfg)

    @staticmethod
    def auto_scale_hyperparams(cfg: Any, num_classes: int) -> Any:
        """The recipe with the number of classes and the file that lists them."""
        return Trainer.auto_scale_hyperparams(cfg, num_classes)

    @classmethod
    def build_model(cls, cfg: Any) -> nn.Module:
        """The model from the recipe's seed, with what SEEK.FREEZE names frozen, and batch norm over
        all processes where NORM asks for it.
        """
        random_state.seed_all(cfg.SEED)
        model: nn.Module = super().build_model(cfg)  # type: ignore[misc]
        model = synchronize_norms(model) if asks_for_sync(cfg) else model
        freeze(model, cfg.SEEK.FREEZE)
        return model

    @classmethod
    def build_optimizer(cls, cfg: Any, model: nn.Module) -> tuple[torch.optim.Optimizer, None]:
        """See `build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(
        cls, cfg: Any, optimizer: torch.optim.Optimizer, iters_per_epoch: int
    ) -> dict[str, Any]:
        """Schedules of a subclass's own; none here, where a hook sets the rates of SEEK.SCHEDULE or
        SOLVER as a function of the step.
        """
        return {}

    @classmethod
    def build_test_loader(cls, cfg: Any, dataset_name: str) -> tuple[Any, int]:
        """See `build_test_loader`."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(
        cls, cfg: Any, dataset_name: str, output_dir: str | None = None
    ) -> tuple[Any, Any]:
        """The test loader of a data set and the evaluator of SEEK.EVALUATOR."""
        loader, num_query = cls.build_test_loader(cfg, dataset_name)
        return loader, evaluation.build_evaluator(cfg, loader, num_query)

    @classmethod
    def test(cls, cfg: Any, model: nn.Module) -> OrderedDict[str, Any]:
        """Evaluate on every test set; see `evaluation.evaluate_tests`."""
        return evaluation.evaluate_tests(cls, cfg, model)

    def build_hooks(self) -> list[HookBase]:
        """fast-reid's hooks, with ours behind the one that sets the rates."""
        stock: list[HookBase] = super().build_hooks()  # type: ignore[misc]
        trainer: Any = self
        # fast-reid's timer leaves out two steps, and its printer fails where there are no others
        stock = [
            hooks.IterationTimer(1) if type(one) is hooks.IterationTimer else one for one in stock
        ]
        base = group_rates(trainer.optimizer)
        place = next(n for n, one in enumerate(stock) if isinstance(one, hooks.LRScheduler))
        self.schedule = recipe_border.build_schedule(self.cfg, base, trainer.iters_per_epoch)
        if not trainer.scheduler:
            stock[place] = ScheduleHook(trainer.optimizer, self.schedule)
        if not len(self.cfg.DATASETS.TESTS):
            saving = SavesWithoutTests(trainer.checkpointer, self.cfg.SOLVER.CHECKPOINT_PERIOD)
            stock = [
                saving if isinstance(one, hooks.PeriodicCheckpointer) else one for one in stock
            ]
        crops = recipe_border.build_attention_crops(self.cfg, cast(Any, LoaderSeat(trainer)))
        ours = [
            PartsHook(),
            MovedGuard(base, self.cfg.SOLVER.FREEZE_ITERS),
            *([] if crops is None else [crops]),
        ]
        return [
            *stock[: place + 1],
            *ours,
            *stock[place + 1 :],
        ]  # the guard looks at the step's rates

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on with the run in OUTPUT_DIR when asked to and there is one, else load MODEL.WEIGHTS:
        a file of ours, of fast-reid's, or a plain state dict.
        """
        trainer: Any = self
        weights = self.cfg.MODEL.WEIGHTS
        if not weights or (resume and trainer.checkpointer.has_checkpoint()):
            super().resume_or_load(resume)  # type: ignore[misc]
            return
        load_for_training(trainer.model, weights, self.cfg)


class SavesWithoutTests(hooks.PeriodicCheckpointer):
    """fast-reid's hook, which asks for the first test set also where there is none."""

    def before_train(self) -> None:
        """Note how long the training is."""
        self.max_epoch, self.metric_name = self.trainer.max_epoch, "metric"


def load_for_training(model: nn.Module, weights: PathLike, cfg: Any) -> None:
    """Load weights into a model, in place, as SEEK.DROP and SEEK.FIT say.

    Raises:
        ArtefactError: they do not fit; says how they differ.
    """
    reader = Checkpointer(process_group.inner(model), cfg.OUTPUT_DIR, save_to_disk=False)
    reader.drop, reader.fit, reader.classes = list(cfg.SEEK.DROP), cfg.SEEK.FIT, cfg.SEEK.CLASSES
    reader.load(str(weights), checkpointables=[])


class LoaderSeat:
    """The loader of a running trainer of fast-reid's, as the hook for attention crops wants it."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer._trainer

    @property
    def data_loader(self) -> Iterable[Any]:
        """The training batches."""
        loader: Iterable[Any] = self._trainer.data_loader
        return loader

    @property
    def model(self) -> nn.Module:
        """Perhaps wrapped for several processes."""
        model: nn.Module = self._trainer.model
        return model

    def seek(self, step: int) -> None:
        """Make `step` the number of the next batch."""
        self._trainer.data_loader.seek(step)
        self._trainer._data_loader_iter = iter(self._trainer.data_loader)
