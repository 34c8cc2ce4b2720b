"""Layers that training leaves as they are: their parameters, and the statistics of their
normalisation.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence

from timm.layers import GroupNorm, LayerNorm, RmsNorm
from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..distributed.process_group import inner
from ..errors import UsageError
from ..registry import parse, whole_argument
from .layer_order import near, network, parameters_up_to

from fastreid.layers.batch_norm import FrozenBatchNorm

logger = logging.getLogger("fastreid.fastseek")
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    LayerNorm,
    GroupNorm,
    RmsNorm,
    FrozenBatchNorm,
)
CALL = re.compile(r"\s*((blocks|norms)\s*\(.*\)|norms)\s*")


@dataclasses.dataclass(frozen=True)
class Frozen:
    """What is frozen in a model.

    Args:
        names: of the parameters.
        modules: the ones that stay in eval mode.
    """

    names: tuple[str, ...] = ()
    modules: tuple[nn.Module, ...] = ()

    def apply(self) -> None:
        """Put the modules back into eval mode: `model.train()`, whoever called it, has woken
        them.
        """
        for module in self.modules:
            module.training = False


def freeze(model: nn.Module, entries: Sequence[str]) -> Frozen:
    """Freeze parts of a model, in place, before its optimizer is built.

    A frozen parameter gets no gradient and no weight decay. A normalisation layer all of whose
    parameters are frozen stays in eval mode, so that its running statistics stay too; call
    `Frozen.apply` before every step.

    Args:
        model: not yet wrapped for several processes.
        entries: each a fragment of parameter names ("backbone.net.blocks.0"), or "blocks(15)": the
            backbone's stem and its blocks 0 to 15, see `layer_order.parameters_up_to`, these whole
            in eval mode (their dropout and stochastic depth, too), or "norms": every normalisation
            layer, or "norms('backbone')": those with the fragment in their name.

    Raises:
        UsageError: an entry that fits nothing, or more blocks than there are; lists near names.
    """
    names: set[str] = set()
    still: set[nn.Module] = set()
    for entry in entries:
        found, asleep = _find_parameters(inner(model), entry)
        names |= found
        still |= asleep
    own = dict(inner(model).named_parameters())
    for name in names:
        own[name].requires_grad_(False)
    still |= {module for module in _norms(inner(model)).values() if _rests(module, module in still)}
    frozen = Frozen(
        tuple(name for name in own if name in names),
        tuple(module for module in inner(model).modules() if module in still),
    )
    frozen.apply()
    if entries:
        count = sum(own[name].numel() for name in names)
        logger.info(
            "SEEK.FREEZE: %.2f of %.2f million parameters are frozen in %d tensors, %s to %s; %d"
            " modules stay in eval mode",
            count / 1e6,
            sum(one.numel() for one in own.values()) / 1e6,
            len(names),
            next(iter(frozen.names), "none"),
            next(reversed(frozen.names), "none"),
            len(frozen.modules),
        )
    return frozen


def _rests(norm: nn.Module, named: bool) -> bool:
    """A norm without parameters of its own rests only where an entry names it."""
    own = list(norm.parameters(recurse=False))
    return named or bool(own) and not any(parameter.requires_grad for parameter in own)


def _find_parameters(model: nn.Module, entry: str) -> tuple[set[str], set[nn.Module]]:
    """The parameters an entry means, and the modules it puts to rest whatever they hold."""
    called = CALL.fullmatch(entry)
    if called is None:
        return _by_fragment(model, entry)
    name, args, kwargs = parse(entry)
    if name == "blocks":
        try:
            return _by_depth(model, whole_argument(entry))
        except UsageError as error:
            raise UsageError(f"SEEK.FREEZE {error}") from error
    if kwargs or len(args) > 1 or not all(isinstance(one, str) for one in args):
        raise UsageError(
            f'SEEK.FREEZE {entry!r}: expected "norms" or a fragment, such as "norms(\'backbone\')"'
        )
    fragment = args[0] if args else ""
    norms = {place: module for place, module in _norms(model).items() if fragment in place}
    if not norms:
        raise UsageError(
            f"SEEK.FREEZE {entry!r}: no normalisation layer is called so;"
            f" {near(fragment, _norms(model))}"
        )
    return {
        f"{place}.{one}"
        for place, module in norms.items()
        for one, _ in module.named_parameters(recurse=False)
    }, set(norms.values())


def _norms(model: nn.Module) -> dict[str, nn.Module]:
    return {place: module for place, module in model.named_modules() if isinstance(module, NORMS)}


def _by_fragment(model: nn.Module, fragment: str) -> tuple[set[str], set[nn.Module]]:
    names = [name for name, _ in model.named_parameters()]
    found = {name for name in names if fragment.strip() in name}
    if not found or not fragment.strip():
        raise UsageError(
            f"SEEK.FREEZE {fragment!r} is in no parameter's name; {near(fragment, names)}"
        )
    bare = {
        module
        for place, module in _norms(model).items()
        if fragment.strip() in f"{place}." and not list(module.parameters(recurse=False))
    }
    return found, bare


def _by_depth(model: nn.Module, last: int) -> tuple[set[str], set[nn.Module]]:
    place, net = network(model)
    names, modules = parameters_up_to(net, last)
    return {f"{place}.{name}" for name in names}, set(modules)
