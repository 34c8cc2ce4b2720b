"""The optimizer of a training, over the model's own parameters."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from ..errors import UsageError
from ..modeling.layers.class_shard import shards
from . import lr_groups

from fastreid.solver.build import get_default_optimizer_params

logger = logging.getLogger("fastreid.fastseek")
LOOKS_AT_WHOLE = ("Adafactor", "LBFGS", "Muon")  # at more than one number of a weight at a time


def build_optimizer(
    model: nn.Module,
    kind: type[torch.optim.Optimizer],
    grouping: Mapping[str, Any],
    rates: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> torch.optim.Optimizer:
    """An optimizer over the model's own parameters.

    fast-reid copies the parameters into flat buffers; since torch 2.0 its `zero_grad` then drops
    the only gradients the optimizer looks at, and nothing trains. Here parameters with equal
    settings share a group, which is as fast. Layers that are frozen for a while carry
    `freeze_status` "freeze"; the step drops their gradients.

    Args:
        model: not yet wrapped for several processes.
        kind: class of the optimizer.
        grouping: keyword arguments of fast-reid's `get_default_optimizer_params`.
        rates: "fragment of a name: factor", see `lr_groups.factors`.
        options: further keyword arguments of `kind`.

    Raises:
        UsageError: no trainable parameter, or an entry of `rates` that fits nothing.
        ValueError: the optimizer refuses its settings.
    """
    groups = get_default_optimizer_params(model, **grouping)
    groups = _merge(_rate_groups(model, groups, rates))
    if not groups:
        raise UsageError(
            "the model has no trainable parameter: check SEEK.FREEZE, bn_eval and "
            "MODEL.META_ARCHITECTURE"
        )
    return kind(groups, **(options or {}))


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """A class of torch.optim by its name.

    Raises:
        UsageError: there is none; lists them.
    """
    known = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    if name not in known:
        raise UsageError(f"SOLVER.OPT {name!r} is not one of {', '.join(sorted(known))}")
    return known[name]


def check_shards(kind: type[torch.optim.Optimizer], model: nn.Module) -> None:
    """Whether an optimizer treats every number of a weight by itself, where weights are shared out.

    Raises:
        UsageError: it does not.
    """
    if kind.__name__ in LOOKS_AT_WHOLE and shards(model):
        raise UsageError(
            f"SOLVER.OPT {kind.__name__} looks at whole weights, and shard=True shares them out over"
            " the processes: take SGD, Adam or AdamW"
        )


def clip_shared_norms(
    kind: type[torch.optim.Optimizer], model: nn.Module, most: float, norm: float
) -> type[torch.optim.Optimizer]:
    """An optimizer that clips the gradient of every parameter by its norm before each step, as
    fast-reid's does; of weights that are shared out the norm is that of all processes together.

    Args:
        kind: the optimizer.
        model: has the weights.
        most: the largest norm.
        norm: which one, such as 2.0; `inf` is the largest number.
    """
    shared = {id(weight) for _, weight in shards(model).values()}

    @torch.no_grad()
    def clip(parameter: torch.nn.Parameter) -> None:
        if parameter.grad is None or id(parameter) not in shared:
            torch.nn.utils.clip_grad_norm_(parameter, most, norm)
            return
        total = torch.linalg.vector_norm(parameter.grad, norm)
        if norm == math.inf:
            dist.all_reduce(total, dist.ReduceOp.MAX)
        else:
            total = total.pow(norm)
            dist.all_reduce(total)
            total = total.pow(1 / norm)
        parameter.grad.mul_((most / (total + 1e-6)).clamp(max=1.0))

    def step(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                clip(parameter)
        return kind.step(self, closure)

    return type(f"{kind.__name__}WithGradientClip", (kind,), {"step": step})


def group_rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """The learning rate of every group, as it is now."""
    return [float(group["lr"]) for group in optimizer.param_groups]


class OptimizerMemory:
    """What an optimizer has gathered, such as momentum, kept by the names of parameters.

    torch finds it by position and takes weight decay, momentum and the like from the file. Here
    these are the recipe's, and another grouping of the parameters mixes nothing up.

    Args:
        optimizer: of the model's own parameters.
        model: has their names.
        with_settings: take rates and settings from the file, too, and look at positions, as torch
            does: for schedules that go on from the rates of the file.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, model: nn.Module, with_settings: bool = False
    ) -> None:
        self._optimizer, self._with_settings = optimizer, with_settings
        self._names = {id(value): name for name, value in model.named_parameters()}

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer, and "names": those of its parameters by their number."""
        return {**self._optimizer.state_dict(), "names": self._numbered_names()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what fits; a checkpoint of version 0.1 has no names and must fit as it is.

        Raises:
            ValueError: it does not fit.
        """
        kept = {key: value for key, value in state.items() if key != "names"}
        before = self._optimizer.state_dict()["param_groups"]
        if "names" in state and not self._with_settings:
            memory = {state["names"][number]: one for number, one in kept["state"].items()}
            mine = enumerate(self._numbered_names())
            found = {number: memory[name] for number, name in mine if name in memory}
            kept = {"state": found, "param_groups": before}
        self._optimizer.load_state_dict(kept)
        if not self._with_settings:
            for group, own in zip(self._optimizer.param_groups, before, strict=True):
                group.update((key, value) for key, value in own.items() if key != "params")

    def _numbered_names(self) -> list[str]:
        groups = self._optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        return [self._names.get(id(one), str(number)) for number, one in enumerate(parameters)]


def _rate_groups(
    model: nn.Module, groups: list[dict[str, Any]], rates: Sequence[str]
) -> list[dict[str, Any]]:
    """The groups, of one parameter each, with the factors of `rates` on top of fast-reid's own."""
    if not rates:
        return groups
    found = lr_groups.factors(model, rates)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    logger.info(
        "SEEK.RATES, factor of the learning rate and numbers in each part:\n%s",
        lr_groups.table(model, found),
    )
    return [group | {"lr": group["lr"] * found[names[id(group["params"][0])]]} for group in groups]


def _merge(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One group for all parameters with the same settings, in order of appearance; torch updates
    no group that holds parts and whole tensors.
    """
    merged: dict[tuple, dict[str, Any]] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != "params"}
        held = isinstance(group["params"][0], DTensor), *sorted(settings.items())
        found = merged.setdefault(held, {**settings, "params": []})
        found["params"].extend(group["params"])
    return list(merged.values())
