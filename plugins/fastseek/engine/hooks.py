"""What happens around the steps of a training: evaluation, checkpoints, and a guard against learning nothing."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import RunError
from . import ranks

from fastreid.engine.train_loop import HookBase
from fastreid.evaluation.testing import flatten_results_dict
from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class EvalHook(HookBase):
    """Evaluate after every `period` epochs and after the last one.

    Args:
        period: in epochs; 0 or less means after the last epoch only.
        evaluate: takes nothing, returns a nested dict of floats (empty but on rank 0).
        seen: told the flat results of every evaluation.
    """

    def __init__(self, period: int, evaluate: Callable[[], dict[str, Any]], seen: Callable[[dict], None]) -> None:
        self._period, self._evaluate, self._seen = period, evaluate, seen

    def after_epoch(self) -> None:
        """Evaluate when it is time, with the same statistics in every process."""
        done = self.trainer.epoch + 1
        if done < self.trainer.max_epoch and (self._period <= 0 or done % self._period):
            return
        ranks.share_buffers(self.trainer.model)
        results = flatten_results_dict(self._evaluate() or {})
        self.trainer.storage.put_scalars(**results, smoothing_hint=False)
        self._seen(results)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        comm.synchronize()


class CheckpointHook(HookBase):
    """Save at the end of epochs, by the clock in between, and when the run is asked to stop.

    Args:
        save: called with the name of the checkpoint, in every process.
        period: in epochs; 0 or less means after the last epoch only.
        minutes: a checkpoint inside an epoch when the last one is as old; 0 or less means none.
        output: the folder, named when the run is stopped.
    """

    def __init__(self, save: Callable[[str], None], period: int, minutes: float, output: str) -> None:
        self._save, self._period, self._minutes, self._output = save, period, minutes, output
        self._asked = 0
        self._before: dict[int, Any] = {}

    def before_train(self) -> None:
        """Start the clock and listen to SIGTERM and SIGINT."""
        self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._ask) for number in heard}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        # A second signal is not waited for: it does what it did before the training.
        self._asked = number
        signal.signal(number, self._before[number] or signal.SIG_DFL)

    def after_step(self) -> None:
        """Save when it is time or a process was asked to stop.

        Raises:
            RunError: it was asked to stop; everything is saved.
        """
        due = self._minutes > 0 and time.monotonic() - self._saved >= 60 * self._minutes
        asked, due = ranks.agree(bool(self._asked), due)
        step = self.trainer.iter + 1
        if asked or due:
            self._write(f"model_step_{step:08d}")
        if asked:
            name = signal.Signals(self._asked).name if self._asked else "a signal to another process"
            raise RunError(f"stopped by {name} after {step} of {self.trainer.max_iter} steps; everything is saved in "
                           f"{self._output}: run the same command with --resume to go on")

    def after_epoch(self) -> None:
        """Save at the end of every `period` epochs and of the last."""
        done = self.trainer.epoch + 1
        if done >= self.trainer.max_epoch:
            self._write("model_final")
        elif self._period > 0 and done % self._period == 0:
            self._write(f"model_{self.trainer.epoch:04d}")

    def after_train(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def _write(self, name: str) -> None:
        ranks.share_buffers(self.trainer.model)
        self._save(name)
        self._saved = time.monotonic()


class MovedGuard(HookBase):
    """Fail a run none of whose parameters moves at its first step.

    Since torch 2.0 fast-reid's own optimizer does exactly that without a word.
    """

    PATIENCE = 50  # steps the scaler may skip for overflow before the run is given up

    def __init__(self) -> None:
        self._done = False
        self._skipped = 0

    def before_step(self) -> None:
        """Keep a copy of the trainable parameters."""
        if not self._done:
            self._copies = [parameter.detach().clone() for parameter in self._trainable()]
            self._scale = self._scaler_scale()
            self._used = {group["lr"] for group in self.trainer.optimizer.param_groups}

    def after_step(self) -> None:
        """Compare.

        Raises:
            RunError: nothing moved; says why, as far as that can be told.
        """
        if self._done:
            return
        moved = any(not torch.equal(old, new) for old, new in zip(self._copies, self._trainable(), strict=True))
        del self._copies
        if moved:
            self._done = True
        elif self._scaler_scale() < self._scale and self._skipped < self.PATIENCE:
            self._skipped += 1
        elif not self._warming_up():
            raise RunError(f"no parameter moved in step {self.trainer.iter + 1}: {self._reason()}")

    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.trainer.model.parameters() if parameter.requires_grad]

    def _scaler_scale(self) -> float:
        scaler = self.trainer.grad_scaler
        return math.inf if scaler is None else scaler.get_scale()

    def _warming_up(self) -> bool:
        schedule = self.trainer.scheduler.get("warmup_sched")
        return (schedule is not None and not any(self._used) and any(schedule.base_lrs)
                and self.trainer.iter < self.trainer.warmup_iters)

    def _reason(self) -> str:
        own = {id(parameter) for parameter in self._trainable()}
        held = {id(parameter) for group in self.trainer.optimizer.param_groups for parameter in group["params"]}
        if self._skipped:
            return f"the float16 gradients overflowed {self._skipped} times in a row; try SEEK.AMP_DTYPE bf16"
        if not own & held:
            return ("the optimizer holds none of the model's parameters; build_optimizer must be given the model's own "
                    "(fast-reid's contiguous=True copies them, and torch 2 then trains nothing)")
        if not any(self._used):
            return "every learning rate is 0; set SOLVER.BASE_LR"
        if all(parameter.grad is None for parameter in self._trainable()):
            return "no parameter got a gradient; the loss does not depend on the model, or all of it is frozen"
        return "all gradients are 0, or too small for the learning rate"
