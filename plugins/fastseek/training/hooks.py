"""What happens around the steps of a training: evaluation and checkpoints."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import torch
from torch import nn

from ..distributed import process_group
from ..distributed.wrap import DeviceLoader
from ..errors import StoppedError
from .checkpoint import GO_ON
from .schedule import Schedule

from fastreid.engine.hooks import PreciseBN
from fastreid.engine.train_loop import HookBase
from fastreid.evaluation.testing import flatten_results_dict
from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A cluster signals all processes of a group, and a launcher passes it on: twice is still once.
ECHO = 5.0  # seconds


class ScheduleHook(HookBase):
    """Set the learning rates of a schedule before every step.

    Args:
        optimizer: whose groups get the rates.
        schedule: gives the rates of all groups in a step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
        self._optimizer, self._schedule = optimizer, schedule
        sizes = [len(group["params"]) for group in optimizer.param_groups]
        self._largest = sizes.index(max(sizes))

    def before_step(self) -> None:
        """Set the rates."""
        rates = self._schedule.rates(self.trainer.iter)
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def after_step(self) -> None:
        """Note the rate of the largest group."""
        rate = self._optimizer.param_groups[self._largest]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)


class EvalHook(HookBase):
    """Evaluate after every `period` epochs and after the last one.

    Args:
        period: in epochs; 0 or less means after the last epoch only.
        evaluate: takes nothing, returns a nested dict of floats (empty but on rank 0).
        seen: told the flat results of every evaluation.
        before: called before every evaluation, which may fail: what must not be lost is saved
            there.
    """

    def __init__(
        self,
        period: int,
        evaluate: Callable[[], dict[str, Any]],
        seen: Callable[[dict], None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._period, self._evaluate, self._seen, self._before = period, evaluate, seen, before

    def after_epoch(self) -> None:
        """Evaluate when it is time, with the same statistics in every process."""
        done = self.trainer.epoch + 1
        if done < self.trainer.max_epoch and (self._period <= 0 or done % self._period):
            return
        self._before()
        process_group.share_buffers(self.trainer.model)
        results = flatten_results_dict(self._evaluate() or {})
        self.trainer.storage.put_scalars(**results, smoothing_hint=False)
        self._seen(results)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        comm.synchronize()


class CheckpointHook(HookBase):
    """Save at the end of epochs, by the clock in between, and when the run is asked to stop.

    Args:
        save: called with the name of the checkpoint, and whether its evaluation is still to come,
            in every process.
        note: called with the name of a saved checkpoint when its evaluation is done, in every
            process.
        period: in epochs; 0 or less means after the last epoch only.
        minutes: a checkpoint inside an epoch when the last one is as old; 0 or less means none.
        output: the folder, named when the run is stopped.
        advice: how to go on, told when the run is stopped.
    """

    def __init__(
        self,
        save: Callable[[str, bool], None],
        note: Callable[[str], None],
        period: int,
        minutes: float,
        output: str,
        advice: str = GO_ON,
    ) -> None:
        self._save, self._note = save, note
        self._period, self._minutes = period, minutes
        self._output, self._advice = output, advice
        self._asked, self._asked_at, self._pending = 0, 0.0, ""
        self._before: dict[int, Any] = {}

    def before_train(self) -> None:
        """Start the clock and listen to SIGTERM and SIGINT."""
        self._saved, self._pending = time.monotonic(), self.trainer.pending
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._ask) for number in heard}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked and time.monotonic() - self._asked_at < ECHO:
            return
        if self._asked:
            # Asked again, nothing is waited for: the signal does what it did before the training.
            signal.signal(number, self._before[number] or signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._asked, self._asked_at = number, time.monotonic()

    def after_step(self) -> None:
        """Save when it is time or a process was asked to stop, after an update: gradients are not
        saved.

        Raises:
            StoppedError: it was asked to stop; everything is saved.
        """
        if not self.trainer.windows.closes(self.trainer.iter):
            return
        due = self._minutes > 0 and time.monotonic() - self._saved >= 60 * self._minutes
        asked, due = process_group.agree(bool(self._asked), due)
        step = self.trainer.iter + 1
        if asked or due:
            self._write(f"model_step_{step:08d}")
        if asked:
            name = (
                signal.Signals(self._asked).name if self._asked else "a signal to another process"
            )
            raise StoppedError(
                f"stopped by {name} after {step} of {self.trainer.max_iter} steps; everything is"
                f" saved in {self._output}: {self._advice}"
            )

    def before_evaluation(self) -> None:
        """Save what `after_epoch` would save: an evaluation that fails must not cost the epoch."""
        name = self._name()
        if name and not self._pending:
            self._write(name, pending=True)
            self._pending = name

    def after_epoch(self) -> None:
        """Save at the end of every `period` epochs and of the last, or note what the evaluation
        since then found.
        """
        name = self._name()
        if self._pending:
            self._note(self._pending)
            self._pending = ""
        elif name:
            self._write(name)

    def _name(self) -> str:
        """The checkpoint of the epoch that has ended; "" when it is not the turn of one."""
        done = self.trainer.epoch + 1
        if done >= self.trainer.max_epoch:
            return "model_final"
        return (
            f"model_{self.trainer.epoch:04d}"
            if self._period > 0 and done % self._period == 0
            else ""
        )

    def after_train(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def _write(self, name: str, pending: bool = False) -> None:
        process_group.share_buffers(self.trainer.model)
        self._save(name, pending)
        self._saved = time.monotonic()


def precise_bn(model: nn.Module, loader: Iterable[Any], iterations: int) -> HookBase:
    """fast-reid's hook for exact batch norm statistics after the last epoch.

    Args:
        model: has batch norm layers.
        loader: batches they are taken from.
        iterations: how many of them.
    """
    on_device = DeviceLoader(loader, next(model.parameters()).device)
    return PreciseBN(model, on_device, iterations)
