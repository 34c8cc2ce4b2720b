"""The guard against a run that learns nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..distributed.fully_sharded import here
from ..errors import RunError

from fastreid.engine.train_loop import HookBase


class MovedGuard(HookBase):
    """Fail a run none of whose parameters moves at its first step.

    Since torch 2.0 fast-reid's own optimizer does exactly that without a word. A step is passed
    over when the recipe itself lets nothing move yet: a warm-up that begins at 0, patterns in
    MODEL.FREEZE_LAYERS that hit everything, or batches whose update is still to come.

    Args:
        base_rates: the full learning rates; one above 0 lets rates of 0 be waited for.
        freeze_iters: steps for which frozen groups stay as they are.
    """

    PATIENCE = 50  # steps the scaler may skip for overflow before the run is given up

    def __init__(self, base_rates: Sequence[float] = (), freeze_iters: int = 0) -> None:
        self._can_rise, self._freeze_iters = any(base_rates), freeze_iters
        self._done = False
        self._skipped = 0
        self._copies: list[torch.Tensor] | None = None

    def before_step(self) -> None:
        """Keep a copy of the trainable parameters."""
        if self._copies is None and not (self._done or self._warming_up() or self._all_frozen()):
            self._copies = [parameter.detach().clone() for parameter in self._trainable()]
            self._scale = self._scaler_scale()
            self._rates = {group["lr"] for group in self.trainer.optimizer.param_groups}

    def after_step(self) -> None:
        """Compare.

        Raises:
            RunError: nothing moved; says why, as far as that can be told.
        """
        if self._copies is None or not self.trainer.updated:
            return
        self._done = any(
            not torch.equal(old, new)
            for old, new in zip(self._copies, self._trainable(), strict=True)
        )
        self._copies = None
        overflow = self._scaler_scale() < self._scale
        self._skipped += overflow
        if not self._done and not (overflow and self._skipped < self.PATIENCE):
            raise RunError(f"no parameter moved in step {self.trainer.iter + 1}: {self._reason()}")

    def _trainable(self) -> list[torch.Tensor]:
        """What this process holds of the parameters that may move."""
        parameters = self.trainer.model.parameters()
        return [here(parameter) for parameter in parameters if parameter.requires_grad]

    def _scaler_scale(self) -> float:
        scaler = self.trainer.grad_scaler
        return math.inf if scaler is None else scaler.get_scale()

    def _warming_up(self) -> bool:
        at_zero = not any(group["lr"] for group in self.trainer.optimizer.param_groups)
        return at_zero and self._can_rise

    def _all_frozen(self) -> bool:
        groups = self.trainer.optimizer.param_groups
        return self.trainer.iter < self._freeze_iters and all(
            group.get("freeze_status") == "freeze" for group in groups
        )

    def _reason(self) -> str:
        own = {id(parameter) for parameter in self._trainable()}
        held = {
            id(parameter)
            for group in self.trainer.optimizer.param_groups
            for parameter in group["params"]
        }
        if self._skipped:
            return (
                f"the float16 gradients overflowed {self._skipped} times in a row; try"
                " SEEK.AMP_DTYPE bf16"
            )
        if not own & held:
            return (
                "the optimizer holds none of the model's parameters; build_optimizer must be given"
                " the model's own (fast-reid's contiguous=True copies them, and torch 2 then trains"
                " nothing)"
            )
        if not any(self._rates):
            return "every learning rate is 0; set SOLVER.BASE_LR"
        if all(parameter.grad is None for parameter in self._trainable()):
            return (
                "no parameter got a gradient; the loss does not depend on the model, or all of it"
                " is frozen"
            )
        return "all gradients are 0, or too small for the learning rate"
