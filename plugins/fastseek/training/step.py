"""One training step: forward, backward, look at the losses, and when its batches are complete,
update.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Generator
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

from ..distributed import process_group
from ..distributed.fully_sharded import here
from ..distributed.wrap import to_device
from ..errors import RunError, UsageError
from ..modeling.freezing import Frozen
from ..modeling.layers.class_shard import shards
from ..modeling.layers.part_protocols import FollowsSteps
from .accumulation import Windows

from fastreid.engine.train_loop import SimpleTrainer
from fastreid.utils import comm
from fastreid.utils.events import get_event_storage

logger = logging.getLogger("fastreid.fastseek")
Losses = dict[str, torch.Tensor]
SKIPS = 10  # updates left out in a row before the run is given up


class Step(SimpleTrainer):
    """fast-reid's simple trainer, in full precision, on any device.

    Args:
        model: returns a dict name -> scalar loss for a batch, perhaps wrapped for several
            processes.
        loader: endless; `seek(step)` sets where it starts.
        optimizer: its groups may carry `freeze_status`.
        freeze_iters: for so many steps the groups with `freeze_status` "freeze" stay as they are.
        windows: which batches make one update: the mean of their losses is what it descends.
        frozen: put back into eval mode before every step.
        on_nan: "stop" raises when a loss or gradient is not finite; "skip" leaves the update out in
            every process and puts the buffers (running statistics, memories) back to what they were
            before its batches.
    """

    grad_scaler: torch.amp.GradScaler | None = None
    iter = 0

    def __init__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        freeze_iters: int = 0,
        windows: Windows | None = None,
        frozen: Frozen | None = None,
        on_nan: str = "stop",
    ) -> None:
        super().__init__(model, loader, optimizer, None)
        self.freeze_iters, self.on_nan = freeze_iters, on_nan
        self.windows, self.frozen = windows or Windows(), frozen or Frozen()
        self.device = next(model.parameters()).device
        self.updated = False  # whether the last step ended with an update
        self.lacks_batch = False  # whether an update could not begin, because its loader failed
        self.skipped = 0  # updates left out so far
        self._in_a_row, self._bad, self._since = 0, "", 0
        self._buffers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._followers = [
            module
            for module in process_group.inner(model).modules()
            if isinstance(module, FollowsSteps)
        ]

    def seek(self, step: int) -> None:
        """Make `step` the number of the next batch."""
        self.data_loader.seek(step)
        self._data_loader_iter = iter(self.data_loader)
        self._since = step

    def close(self) -> None:
        """End the workers of the loader; `seek` starts others."""
        if isinstance(self._data_loader_iter, Generator):
            self._data_loader_iter.close()

    def run_step(self) -> None:
        """Take one step; the last one of its window updates the weights.

        Raises:
            RunError: a loss or, without a scaler that would skip the step, a gradient is not finite
                and that is not to be skipped; every process raises it, and the weights are as
                before the step.
        """
        if not self.model.training:
            raise RunError("the model was left in eval mode before a training step")
        self.frozen.apply()
        first, last = self.windows.around(self.iter)
        first = max(
            first, min(self.iter, self._since)
        )  # a run that is resumed with another SEEK.ACCUMULATE
        if self.iter == first:
            self._begin()
        self.lacks_batch = self.iter == first
        batch, waited = self._next()
        self.lacks_batch = False
        for module in self._followers:
            module.at_step(self.iter)
        with self._own_gradients(self.iter < last):
            losses = self._forward(batch)
            if not losses:
                raise UsageError(
                    "the model returned no loss: name one in MODEL.LOSSES.NAME or SEEK.LOSSES"
                )
            total: Any = sum(losses.values())
            self._backward(total if first == last else total / (last - first + 1))
        self._keep_frozen()
        self._look(losses, waited, batch)
        self.updated = self.iter == last and not self._bad
        if self.updated:
            self._update()
            self._in_a_row = 0
        elif self.iter == last:
            self._leave_out()

    def _begin(self) -> None:
        """Before the first batch of an update."""
        self.optimizer.zero_grad(set_to_none=True)
        self._bad = ""
        if self.on_nan == "skip":
            self._buffers = [
                (buffer, buffer.clone()) for buffer in process_group.inner(self.model).buffers()
            ]

    def _own_gradients(self, more: bool) -> contextlib.AbstractContextManager:
        """Processes exchange gradients with the last batch of an update only."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(not more)
        wrapped = isinstance(self.model, nn.parallel.DistributedDataParallel)
        return self.model.no_sync() if more and wrapped else contextlib.nullcontext()

    @torch.no_grad()
    def _leave_out(self) -> None:
        """Forget an update that a figure not finite has spoilt.

        Raises:
            RunError: too many in a row.
        """
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, before in self._buffers:
            buffer.copy_(before)
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
        if self._in_a_row >= SKIPS:
            raise RunError(
                f"{SKIPS} updates in a row were left out (SEEK.ON_NAN skip); the last: {self._bad}"
            )
        if comm.is_main_process():
            logger.warning(
                "this update is left out, the %d. of this run: %s", self.skipped, self._bad
            )
            get_event_storage().put_scalar("skipped_updates", self.skipped, smoothing_hint=False)

    def _next(self) -> tuple[dict[str, Any], float]:
        start = time.perf_counter()
        # Starting workers draws from the global generator; a resumed run starts them at other
        # steps.
        with torch.random.fork_rng(devices=[]):
            batch = next(self._data_loader_iter)
        return to_device(batch, self.device), time.perf_counter() - start

    def _forward(self, batch: dict[str, Any]) -> Losses:
        return self.model(batch)

    def _backward(self, total: torch.Tensor) -> None:
        total.backward()

    def _update(self) -> None:
        self.optimizer.step()

    def _keep_frozen(self) -> None:
        if self.iter < self.freeze_iters:
            for group in self.optimizer.param_groups:
                if group.get("freeze_status") == "freeze":
                    for parameter in group["params"]:
                        parameter.grad = None

    def _look(self, losses: Losses, waited: float, batch: dict[str, Any]) -> None:
        """Share the losses, find out everywhere when one or a gradient is not finite, and note
        their means.
        """
        parts = [loss.detach().float().reshape(()) for loss in losses.values()]
        # One wait for the device: the gradients are looked at together with the losses.
        *values, norm = torch.stack([*parts, self._gradient_norm().to(parts[0].device)]).tolist()
        rows = process_group.gather_rows([*values, norm, waited])
        if self._bad:
            return  # the gradients of this update are spoilt already, and their cause is told
        if not rows[:, :-2].isfinite().all():
            self._stop(self._not_finite("the loss", dict(zip(losses, values, strict=True)), batch))
        elif not rows.isfinite().all():
            self._stop(
                self._not_finite(
                    "the gradient, and not the loss,", {"norm of all gradients": norm}, batch
                )
            )
        elif comm.is_main_process():
            means = dict(zip(losses, rows[:, :-2].mean(0).tolist(), strict=True))
            storage = get_event_storage()
            storage.put_scalars(
                data_time=float(rows[:, -1].max()), total_loss=sum(means.values()), **means
            )

    def _stop(self, why: str) -> None:
        if self.on_nan != "skip":
            raise RunError(why)
        self._bad = why

    def _gradient_norm(self) -> torch.Tensor:
        """Not finite when a gradient is not; 0 where a scaler looks itself and skips the step."""
        grads = [
            here(parameter.grad)
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if self.grad_scaler is not None or not grads:
            return torch.zeros((), device=self.device)
        return torch.nn.utils.get_total_norm(grads).float()

    def _not_finite(self, what: str, losses: dict[str, float], batch: dict[str, Any]) -> str:
        ids = list(batch.get("ids") or batch.get("img_paths") or [])
        told = [
            one
            for one in process_group.collect((losses, ids))
            if not all(map(math.isfinite, one[0].values()))
        ]
        parts = "; ".join(
            ", ".join(f"{name} {value:g}" for name, value in found.items()) for found, _ in told
        )
        rates = sorted({group["lr"] for group in self.optimizer.param_groups})
        lr = " to ".join(f"{rate:g}" for rate in {rates[0]: 0, rates[-1]: 0})
        names = "\n  ".join(name for _, found in told for name in found)
        return (
            f"{what} is not finite at iteration {self.iter} (lr {lr}): {parts}. The last checkpoint"
            f" is intact; lower SOLVER.BASE_LR, clip gradients or look at these images:\n  {names}"
        )


class AmpStep(Step):
    """The same in mixed precision: float16 with a gradient scaler, or bfloat16.

    Args:
        dtype: torch.float16 (CUDA only) or torch.bfloat16.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        *args: Any,
        dtype: torch.dtype = torch.bfloat16,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, loader, optimizer, *args, **kwargs)
        self.dtype = dtype
        if dtype == torch.float16:
            # An overflow in the weights of one process must be the step of none.
            apart = bool(shards(process_group.inner(model)))
            kind = ShardedGradScaler if apart else torch.amp.GradScaler
            self.grad_scaler = kind(self.device.type)

    def _forward(self, batch: dict[str, Any]) -> Losses:
        with torch.autocast(self.device.type, dtype=self.dtype):
            return self.model(batch)

    def _backward(self, total: torch.Tensor) -> None:
        (total if self.grad_scaler is None else self.grad_scaler.scale(total)).backward()

    def _update(self) -> None:
        if self.grad_scaler is None:
            self.optimizer.step()
        else:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
