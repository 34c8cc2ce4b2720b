"""Where a block can stand in a network of timm: behind a stage, or inside its residual blocks."""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Container, Iterator, Sequence
from typing import Any

import torch
from timm.models._features import FeatureDictNet
from timm.models.resnest import ResNestBottleneck
from torch import nn

PROBE = 64  # height and width of the empty image that tells the shapes inside
# The attribute of modules that blocks put into a network: they are no part of a stage themselves.
MARK = "put_in_by_block"


def append(backbone: Any, at: str, name: str, block: nn.Module) -> None:
    """Let the map of a stage, and what follows it, go through a block that keeps its shape.

    The names of the network's own parameters stay where the stage is a sequence; elsewhere the
    stage is wrapped.

    Args:
        backbone: of ours, around a timm network.
        at: the stage, "s0" to "s4".
        name: of the block in the network.
        block: [B, C, h, w] -> [B, C, h, w].

    Raises:
        ValueError: the backbone has no such place.
    """
    holder, keys = _stage(backbone, at)
    stage = holder.get_submodule(keys[-1])
    if type(stage) is not nn.Sequential:
        stage = nn.Sequential(OrderedDict(stage=stage))
        holder.add_module(keys[-1], stage)
    stage.add_module(_free(stage._modules, name), _mark(block))


def hang(block: nn.Module, name: str, attention: nn.Module) -> None:
    """Put attention at the end of a residual branch: behind its last normalisation, before the
    addition.

    Args:
        block: one of `residual_blocks`.
        name: of the attention in the network.
        attention: [B, C, h, w] -> [B, C, h, w].
    """
    # timm 1.0.31 lets the stochastic depth of a ResNeSt act on the shortcut; elsewhere it ends the
    # branch.
    place = "bn3" if isinstance(block, ResNestBottleneck) else "drop_path"
    old = getattr(block, place)
    inner = dict(old.named_children()) if isinstance(old, Branch) else {"own": old or nn.Identity()}
    own = {} if place == "bn3" else {"own": inner.pop("own")}
    setattr(
        block, place, Branch(OrderedDict({**inner, _free(inner, name): _mark(attention), **own}))
    )


class Branch(nn.Sequential):
    """The end of a residual branch: what the network had there, "own", and attention in the order
    it came.
    """


def residual_blocks(backbone: Any, at: str) -> list[nn.Module]:
    """The blocks of a stage that end in an addition.

    Raises:
        ValueError: there are none, or the backbone has no such place.
    """
    found = [
        module
        for module in modules(backbone, at)
        if hasattr(module, "drop_path") and getattr(module, "has_skip", True)
    ]
    if not found:
        raise ValueError(
            f"{at} of this network has no residual blocks that blocks can be put into; "
            "leave out inside=True to put one behind the stage"
        )
    return found


def modules(backbone: Any, at: str) -> list[nn.Module]:
    """The modules between the map before a stage and the map of the stage, without what blocks put
    there.

    Raises:
        ValueError: the backbone has no such place.
    """
    return [module for top in stage_modules(backbone, at) for module in _own(top)]


def stage_modules(backbone: Any, at: str) -> list[nn.Module]:
    """The modules a stage runs one after the other; the last gives its map.

    Raises:
        ValueError: the backbone has no such place.
    """
    holder, keys = _stage(backbone, at)
    return [holder.get_submodule(key) for key in keys]


def channels(backbone: Any, at: str) -> int:
    """C of the map of a stage.

    Raises:
        ValueError: the backbone has no such place.
    """
    return _info(backbone, at)["num_chs"]


def shapes(backbone: Any, inside: Sequence[nn.Module]) -> list[tuple[int, int, int]]:
    """(C, h, w) of what modules return for an empty image of 64 x 64 pixels; nothing of the network
    changes.

    Raises:
        ValueError: the network does not take such an image.
    """
    net, seen = backbone.net, {}
    handles = [
        module.register_forward_hook(
            lambda one, _, out: seen.update({id(one): tuple(out.shape[1:])})
        )
        for module in inside
    ]
    try:
        with torch.no_grad(), _still(net):
            net(torch.zeros(1, 3, PROBE, PROBE, device=next(net.parameters()).device))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"the network does not run on {PROBE} x {PROBE} pixels: {error}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return [seen[id(module)] for module in inside]


@contextlib.contextmanager
def _still(net: nn.Module) -> Iterator[None]:
    """Evaluation mode, and what blocks put there let everything through."""
    modes = {module: module.training for module in net.modules()}
    marked = [module for module in modes if getattr(module, MARK, False)]
    net.eval()
    for module in marked:
        module.forward = lambda maps: maps
    try:
        yield
    finally:
        for module in marked:
            del module.forward
        for module, mode in modes.items():
            module.training = mode


def _mark(block: nn.Module) -> nn.Module:
    setattr(block, MARK, True)
    return block


def _own(module: nn.Module) -> Iterator[nn.Module]:
    if not getattr(module, MARK, False):
        yield module
        for child in module.children():
            yield from _own(child)


def _free(taken: Container[str], name: str) -> str:
    """The name, with a number from 2 on when it is taken."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(one for one in names if one not in taken)


def _info(backbone: Any, at: str) -> dict[str, Any]:
    net = getattr(backbone, "net", None)
    sequence = isinstance(getattr(net, "blocks", None), nn.Sequential)
    info = getattr(net, "feature_info", None)
    if info is None or not (isinstance(net, FeatureDictNet) or sequence):
        raise ValueError(
            "blocks go into convolutional networks of timm (ResNet, RegNet, ResNeSt, DenseNet, "
            f"EfficientNet, MobileNet …), and this backbone holds a {type(net).__name__}"
        )
    if getattr(backbone, "channels_last", False):
        raise ValueError("blocks want maps [B, C, h, w], and this network works with channels last")
    infos = info.info
    names = (
        [f"s{5 - len(infos) + number}" for number in range(len(infos))] if len(infos) <= 5 else []
    )
    if at not in names:
        raise ValueError(
            f"this network has no stage {at!r}, only {', '.join(names) or 'others than s0 to s4'}"
        )
    return {
        **infos[names.index(at)],
        "before": infos[names.index(at) - 1]["module"] if at != names[0] else None,
    }


def _stage(backbone: Any, at: str) -> tuple[nn.Module, list[str]]:
    """What holds the modules of a stage, and their names in it."""
    info, net = _info(backbone, at), backbone.net
    holder = net if isinstance(net, FeatureDictNet) else net.blocks

    def key(module: str) -> str:
        return module.replace(".", "_") if holder is net else module.removeprefix("blocks.")

    keys = list(holder._modules)
    if key(info["module"]) not in keys:
        raise ValueError(
            f"{at} is not in this backbone (its stages: {', '.join(backbone.channels)}): "
            f"add it, such as stages=({at[1:]}, …)"
        )
    first = (
        keys.index(key(info["before"])) + 1 if info["before"] and key(info["before"]) in keys else 0
    )
    return holder, keys[first : keys.index(key(info["module"])) + 1]
