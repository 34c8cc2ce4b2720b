"""fast-reid's trainer with parts that also work today: on a CPU, after a kill, with a bad image in
the data.
"""

from __future__ import annotations

import logging
import math
import pathlib
import secrets
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from ..config.edits import replace_values
from ..config.solver_values import phase_epochs
from ..config.validation import check_training
from ..data import builders as loaders
from ..distributed import process_group
from ..distributed.run_lock import hold_run_folder
from ..distributed.wrap import distribute
from ..errors import FastSeekError, RunError, UsageError, is_out_of_memory
from ..modeling.build import build_model
from ..modeling.layers.trainer_contract import announce_images, announce_length
from . import checkpoint_manifest, evaluation, random_state, recipe_border
from .accumulation import Windows
from .checkpoint import GO_ON, Checkpointer
from .class_index import changed_settings, check_can_follow, check_same_data, digest, write_classes
from .data_fingerprint import check_same_images, common_folder, share_fingerprint
from .hooks import CheckpointHook, EvalHook, ScheduleHook, precise_bn
from .optimizer import OptimizerMemory, group_rates
from .run_setup import recipe_text, save_config, start_log
from .sanity_check import MovedGuard
from .weight_average import AverageHook, WeightAverage
from .writers import JsonLines, Progress, TensorBoard, WriterHook

from fastreid.engine import DefaultTrainer, hooks
from fastreid.engine.train_loop import HookBase
from fastreid.utils import comm
from fastreid.utils.events import EventStorage, EventWriter
from fastreid.utils.precision_bn import get_bn_modules

logger = logging.getLogger("fastreid.fastseek")


class Trainer(DefaultTrainer):
    """Build everything a recipe asks for and train it; the methods of fast-reid's trainer can be
    overridden as there.

    Args:
        cfg: the recipe, as `run_setup.setup` returns it.
        advice: how a run that was stopped goes on, as its user would start it again.

    Raises:
        UsageError: the recipe cannot be trained; said before anything starts.
    """

    def __init__(self, cfg: Any, advice: str = GO_ON) -> None:
        # fast-reid's own constructor fixes the step, which needs CUDA, and DDP on CUDA devices.
        super(DefaultTrainer, self).__init__()
        self._advice = advice
        with hold_run_folder(cfg.OUTPUT_DIR):
            self._build(cfg)

    def _build(self, cfg: Any) -> None:
        start_log(cfg.OUTPUT_DIR)
        check_training(cfg)
        self._check_test_sets(cfg)
        loader = self.build_train_loader(cfg)
        self._data = share_fingerprint(loader.dataset.items)
        logger.info("the training images lie in %s", common_folder(loader.dataset.items))
        write_classes(pathlib.Path(cfg.OUTPUT_DIR) / "classes.json", loader.dataset)
        self.cfg = cfg = self.auto_scale_hyperparams(cfg, loader.dataset.num_classes)
        random_state.seed_all(cfg.SEED)
        model = self.build_model(cfg)
        frozen = recipe_border.prepare_model(cfg, model)
        optimizer, _ = self.build_optimizer(cfg, model)
        self.iters_per_epoch = len(loader.dataset) // cfg.SOLVER.IMS_PER_BATCH
        self.windows = Windows(cfg.SEEK.ACCUMULATE, self.iters_per_epoch)
        self._base_rates = group_rates(optimizer)
        self._trainer = recipe_border.build_step(
            cfg, distribute(model), loader, optimizer, self.windows, frozen
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer, self.iters_per_epoch)
        self.schedule = recipe_border.build_schedule(cfg, self._base_rates, self.iters_per_epoch)
        self.max_epoch, self.start_epoch, self.start_step = phase_epochs(cfg), 0, 0
        self.max_iter = self.max_epoch * self.iters_per_epoch
        announce_length(model.modules(), self.max_iter)
        announce_images(model.modules(), loader.dataset.items)
        self.warmup_iters, self.delay_epochs = cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.DELAY_EPOCHS
        self.average = WeightAverage(model, cfg.SEEK.EMA)
        more = {} if self.grad_scaler is None else {"grad_scaler": self.grad_scaler}
        more |= {"ema": self.average} if cfg.SEEK.EMA else {}
        self.checkpointer = Checkpointer(
            model,
            cfg.OUTPUT_DIR,
            save_to_disk=comm.is_main_process(),
            optimizer=OptimizerMemory(optimizer, model, with_settings=bool(self.scheduler)),
            **self.scheduler,
            **more,
        )
        self.checkpointer.advice = self._advice
        self.best: float | None = None
        self.run, self.pending = secrets.token_hex(8), ""
        self.random_states: list[dict[str, Any]] = []
        self.results: OrderedDict[str, Any] | None = None
        self.register_hooks(self.build_hooks())

    @classmethod
    def _check_test_sets(cls, cfg: Any) -> None:
        """Look at the test sets before the training, and not after hours of it.

        A subclass that reads or judges them its own way may know sets that we do not.

        Raises:
            DataError: one is missing, or has no query or no gallery.
        """
        ours = ("test", "build_test_loader", "build_evaluator")
        if any(getattr(cls, name).__func__ is not vars(Trainer)[name].__func__ for name in ours):
            return
        evaluation.check_test_sets(cfg)

    @property
    def updated(self) -> bool:
        """Whether the last step ended with an update of the weights."""
        return self._trainer.updated

    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        """The endless loader of the training batches of this process."""
        return loaders.build_train_loader(
            cfg, rank=comm.get_rank(), world_size=comm.get_world_size()
        )

    @classmethod
    def build_test_loader(cls, cfg: Any, dataset_name: str) -> tuple[Any, int]:
        """The loader over queries, then gallery, of a dataset, and the number of queries."""
        return evaluation.build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(
        cls, cfg: Any, dataset_name: str, output_dir: str | None = None
    ) -> tuple[Any, Any]:
        """The test loader of a dataset and what judges it: the evaluator of SEEK.EVALUATOR."""
        loader, num_query = cls.build_test_loader(cfg, dataset_name)
        return loader, evaluation.build_evaluator(cfg, loader, num_query)

    @staticmethod
    def auto_scale_hyperparams(cfg: Any, num_classes: int) -> Any:
        """The recipe with the number of classes of the training data and the file that lists them.

        Raises:
            UsageError: the recipe itself names fewer classes.
        """
        wanted = cfg.MODEL.HEADS.NUM_CLASSES or num_classes
        if wanted < num_classes:
            raise UsageError(
                f"MODEL.HEADS.NUM_CLASSES {wanted} is less than the {num_classes} classes of the"
                " training images; 0 takes their number"
            )
        classes = str(pathlib.Path(cfg.OUTPUT_DIR) / "classes.json")
        values = {"MODEL.HEADS.NUM_CLASSES": wanted, "SEEK.CLASSES": classes}
        made = replace_values(cfg, values)
        save_config(made)
        return made

    @classmethod
    def build_model(cls, cfg: Any) -> nn.Module:
        """The model, without the weights the recipe names."""
        return build_model(cfg)

    @classmethod
    def build_optimizer(cls, cfg: Any, model: nn.Module) -> tuple[torch.optim.Optimizer, None]:
        """The optimizer over the model's own parameters, and None where fast-reid has its flat
        copies.
        """
        return recipe_border.build_optimizer(cfg, model), None

    @classmethod
    def build_lr_scheduler(
        cls, cfg: Any, optimizer: torch.optim.Optimizer, iters_per_epoch: int
    ) -> dict[str, Any]:
        """Schedules of a subclass's own, "lr_sched" and perhaps "warmup_sched", which fast-reid's
        hook moves; none here, where the rates are a function of the step, see `schedule`.
        """
        return {}

    def build_hooks(self) -> list[HookBase | None]:
        """fast-reid's order: timing, learning rate, precise BN, freezing, evaluation, writers,
        checkpoints.
        """
        cfg = self.cfg
        rates = (
            hooks.LRScheduler(self.optimizer, self.scheduler)
            if self.scheduler
            else ScheduleHook(self.optimizer, self.schedule)
        )
        made: list[HookBase | None] = [
            hooks.IterationTimer(),
            rates,
            MovedGuard(self._base_rates, cfg.SOLVER.FREEZE_ITERS),
            AverageHook(self.average),
            self._build_precise_bn(),
            recipe_border.build_attention_crops(cfg, self._trainer),
        ]
        if len(cfg.MODEL.FREEZE_LAYERS) and cfg.SOLVER.FREEZE_ITERS > 0:
            made.append(
                hooks.LayerFreeze(self.model, cfg.MODEL.FREEZE_LAYERS, cfg.SOLVER.FREEZE_ITERS)
            )
        saving = CheckpointHook(
            self._save,
            self._note,
            cfg.SOLVER.CHECKPOINT_PERIOD,
            cfg.SEEK.CHECKPOINT_MINUTES,
            cfg.OUTPUT_DIR,
            self._advice,
        )
        if len(cfg.DATASETS.TESTS):
            made.append(
                EvalHook(
                    cfg.TEST.EVAL_PERIOD, self._evaluate, self._keep_best, saving.before_evaluation
                )
            )
        if comm.is_main_process():
            # Before the checkpoint: what is written of a step must not be lost by a kill after its
            # checkpoint.
            made.append(WriterHook(self.build_writers))
        return [*made, saving]

    def _build_precise_bn(self) -> HookBase | None:
        """The hook TEST.PRECISE_BN asks for, with a loader of its own."""
        wanted = self.cfg.TEST.PRECISE_BN
        if not (wanted.ENABLED and get_bn_modules(self.model)):
            return None
        values = {"DATALOADER.NUM_WORKERS": 0, "DATASETS.NAMES": (wanted.DATASET,)}
        own = replace_values(self.cfg, values)
        return precise_bn(self.model, self.build_train_loader(own), wanted.NUM_ITER)

    def build_writers(self) -> list[EventWriter]:
        """Progress on the screen, OUTPUT_DIR/metrics.jsonl and TensorBoard."""
        output = pathlib.Path(self.cfg.OUTPUT_DIR)
        return [
            Progress(self.start_iter, self.max_iter, self.max_epoch, self.cfg.SOLVER.IMS_PER_BATCH),
            JsonLines(output / "metrics.jsonl", self.start_iter),
            TensorBoard(output, self.start_iter),
        ]

    @classmethod
    def test(cls, cfg: Any, model: nn.Module) -> OrderedDict[str, Any]:
        """Evaluate on every test set by its loader and evaluator, those of `build_evaluator`; every
        module is left in the mode it was in.

        Returns:
            the figures of the one test set, or those of each by its name; empty figures but on rank
            0.
        """
        return evaluation.evaluate_tests(cls, cfg, model)

    def _evaluate(self) -> OrderedDict[str, Any]:
        # A run that is resumed after its evaluation draws the same numbers as one that evaluated on
        # its way.
        with random_state.preserve_random_state(), self.average.in_place():
            self.results = self.test(self.cfg, self.model)
        return self.results

    def _keep_best(self, results: dict[str, float]) -> None:
        """Keep the best model; the first test set decides."""
        first = self.cfg.DATASETS.TESTS[0]
        metric = process_group.share(results.get("metric", results.get(f"{first}/metric")))
        if (
            metric is not None
            and math.isfinite(metric)
            and (self.best is None or metric > self.best)
        ):
            self.best = float(metric)
            told = {
                "run": self.run,
                "metric": self.best,
                "step": self.iter,
                "epoch": self.epoch + 1,
            }
            with self.average.in_place():
                classes = digest(self.cfg.SEEK.CLASSES)
                self.checkpointer.save_weights("model_best", classes=classes, **told)

    def _save(self, name: str, pending: bool = False) -> None:
        """Save all of the run; every process takes part.

        `pending`: the evaluation of this state is still to come.
        """
        within = name.startswith("model_step_")
        epoch, step = (self.epoch, self.iter + 1) if within else (self.epoch + 1, self.iter)
        self._save_state(name, epoch, step, pending)

    def _save_state(self, name: str, epoch: int, step: int, pending: bool = False) -> None:
        """Save a run that has done so many epochs and steps."""
        random_states = random_state.states()
        state = dict(
            run=self.run,
            epoch=epoch,
            step=step,
            seed=self.cfg.SEED,
            best=self.best,
            results=self.results,
            random=random_states,
            config=recipe_text(self.cfg),
            classes=digest(self.cfg.SEEK.CLASSES),
            data=self._data,
            iters_per_epoch=self.iters_per_epoch,
            pending=name if pending else "",
            skipped=self._trainer.skipped,
        )
        with self.average.in_place():
            self.checkpointer.save(name, **state)
        self.checkpointer.prune(max(1, self.cfg.SEEK.KEEP_CHECKPOINTS), self.run)
        self._saved_step = step

    def _save_without_batch(self) -> str:
        """Save what was trained when there is no next batch: its loader has failed.

        Returns:
            what is saved, "" when nothing could be: an update was under way, or the other processes
            are in the middle of their step.
        """
        if not self._trainer.lacks_batch or comm.get_world_size() > 1:
            return ""
        if self.iter not in (0, self._saved_step):
            try:
                self._save_state(f"model_step_{self.iter:08d}", self.epoch, self.iter)
            except FastSeekError as error:
                logger.warning("what was trained could not be saved: %s", error)
                return ""
        return f"All {self.iter} steps are saved in {self.cfg.OUTPUT_DIR}: {self._advice}"

    def _note(self, name: str) -> None:
        """Tell a saved checkpoint what the evaluation after it found."""
        self.checkpointer.note(name, best=self.best, results=self.results, pending="")

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on with the run in OUTPUT_DIR when asked to and there is one, else load MODEL.WEIGHTS.

        Raises:
            ArtefactError: the checkpoint does not fit the model or the data, or none is valid.
            RunError: another run is writing in OUTPUT_DIR.
        """
        with hold_run_folder(self.cfg.OUTPUT_DIR):
            if not resume and checkpoint_manifest.newest_first(pathlib.Path(self.cfg.OUTPUT_DIR)):
                logger.warning(
                    "%s holds an earlier run; this one starts anew and replaces it (--resume goes on"
                    " with it)",
                    self.cfg.OUTPUT_DIR,
                )
            self._load(resume)

    def load_initial(self) -> None:
        """Load MODEL.WEIGHTS as `resume_or_load` does; a run in OUTPUT_DIR may still go on."""
        with hold_run_folder(self.cfg.OUTPUT_DIR):
            self._load(resume=False)

    def _load(self, resume: bool) -> None:
        self.checkpointer.drop, self.checkpointer.fit = list(self.cfg.SEEK.DROP), self.cfg.SEEK.FIT
        self.checkpointer.classes = self.cfg.SEEK.CLASSES
        state = self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if not state:
            return
        check_same_data(state, digest(self.cfg.SEEK.CLASSES), self.iters_per_epoch, self.max_epoch)
        check_same_images(state.get("data"), self._data)
        check_can_follow(state["config"], recipe_text(self.cfg), bool(self.scheduler))
        self.start_epoch, self.start_step = state["epoch"], state["step"]
        self.best, self.run, self.random_states = state["best"], state["run"], state["random"]
        self.results, self.pending = state["results"], state.get("pending", "")
        self._trainer.skipped = state.get("skipped", 0)
        for line in changed_settings(state["config"], recipe_text(self.cfg)):
            logger.warning("resuming with another setting than before: %s", line)
        logger.info("going on after %d epochs, %d steps", self.start_epoch, self.start_step)

    def train(self) -> OrderedDict[str, Any] | None:
        """Train from where the run stands to its end.

        Returns:
            the last evaluation's figures, in the main process, when there was one.

        Raises:
            RunError: it was stopped or cannot go on, or another run is writing in OUTPUT_DIR; what
                was saved is intact.
        """
        with hold_run_folder(self.cfg.OUTPUT_DIR):
            self._train()
        return self.results if comm.is_main_process() else None

    def _train(self) -> None:
        self.iter = self.start_iter = self._saved_step = self.start_step
        self.epoch = self.start_epoch
        with EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                if self.pending:
                    self._end_epoch_before()
                self._trainer.seek(self.start_iter)
                self._restore_random()
                for epoch in range(self.start_epoch, self.max_epoch):
                    self.epoch = epoch
                    self._train_epoch()
            except FastSeekError as error:
                kept = self._save_without_batch()
                if not kept:
                    raise
                raise type(error)(f"{str(error).rstrip('.')}. {kept}") from error
            except Exception as error:
                if is_out_of_memory(error):
                    raise RunError(
                        f"out of memory in step {self.iter + 1}: lower SOLVER.IMS_PER_BATCH "
                        f"{self.cfg.SOLVER.IMS_PER_BATCH} or the size of the images ({error})"
                    ) from error
                logger.exception("the training failed at step %d", self.iter + 1)
                raise
            finally:
                self._trainer.close()
                self.after_train()

    def _train_epoch(self) -> None:
        self.before_epoch()
        # A run that was stopped between its last step and the end of the epoch has only the end to
        # do.
        while self.iter < (self.epoch + 1) * self.iters_per_epoch:
            self.before_step()
            self.run_step()
            self.after_step()
            self.iter += 1
        self.after_epoch()

    def _end_epoch_before(self) -> None:
        """Evaluate what a run that was stopped after saving an epoch did not come to evaluate."""
        self.epoch, self.pending = self.start_epoch - 1, ""
        self.storage.epoch, self.storage.iter = self.epoch, self.iter - 1
        for hook in self._hooks:
            if isinstance(hook, EvalHook | WriterHook | CheckpointHook):
                hook.after_epoch()

    def _restore_random(self) -> None:
        if self.start_step:
            random_state.restore(self.random_states, self.cfg.SEED, self.start_step)
        else:
            random_state.seed_all(self.cfg.SEED)
