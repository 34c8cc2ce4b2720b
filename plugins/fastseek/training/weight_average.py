"""The moving average of the weights, which is evaluated and saved in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..distributed import process_group
from ..modeling.layers.class_shard import shards

from fastreid.engine.train_loop import HookBase


class WeightAverage:
    """The exponential moving average of a model's weights and running statistics (EMA).

    After update n the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so
    that a short training does not keep its beginning; the first update is where it starts. Class
    weights that are shared out over processes have none: they shape no embedding.

    Args:
        model: not wrapped for several processes.
        decay: share of the average that an update leaves; 0 keeps no average, and all here does
            nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._updates = 0
        self._beside: dict[str, torch.Tensor] = {}  # the average; inside `in_place` the weights

    def update(self) -> None:
        """Take in the weights after an update of theirs."""
        if not self._decay:
            return
        own = self._own()
        if not self._updates:
            self._beside = {name: value.clone() for name, value in own.items()}
        self._updates += 1
        share = min(self._decay, (1 + self._updates) / (10 + self._updates))
        with torch.no_grad():
            move = get_ema_multi_avg_fn(share)
            move(list(self._beside.values()), [own[name] for name in self._beside], None)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average while the block runs; every process must enter it."""
        if not self._updates:
            yield
            return
        self._swap()
        # Running statistics drift apart between processes: all evaluate and save those of rank 0.
        process_group.share_buffers(self._model)
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Inside `in_place`: the weights that are trained, and how many updates there were."""
        return {"updates": self._updates, "weights": dict(self._beside)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, whose average the model has.

        Raises:
            KeyError: the checkpoint is of another model.
        """
        own = self._own()
        self._updates = state["updates"]
        self._beside = (
            {name: state["weights"][name].to(value.device) for name, value in own.items()}
            if self._updates
            else {}
        )
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        own = self._own()
        for name, beside in self._beside.items():
            before = own[name].clone()
            own[name].copy_(beside)
            beside.copy_(before)

    def _own(self) -> dict[str, torch.Tensor]:
        """The tensors of the model that are averaged, each once, where they lie."""
        shared, seen, found = shards(self._model), set(), {}
        for name, value in self._model.state_dict().items():
            if value.is_floating_point() and name not in shared and value.data_ptr() not in seen:
                seen.add(value.data_ptr())
                found[name] = value
        return found


class AverageHook(HookBase):
    """Take the weights into the average after every update.

    Args:
        average: of the trainer's model.
    """

    def __init__(self, average: WeightAverage) -> None:
        self._average = average

    def after_step(self) -> None:
        """Take them in, where the step ended with an update."""
        if self.trainer.updated:
            self._average.update()
