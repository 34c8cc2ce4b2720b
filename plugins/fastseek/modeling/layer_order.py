"""The layers of a backbone in order of depth: what "the first k blocks" and "a rate for each block"
speak of.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from torch import nn

from ..distributed.process_group import inner
from ..errors import UsageError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def network(model: nn.Module) -> tuple[str, nn.Module]:
    """The network inside a model's backbone, and its dotted name.

    Args:
        model: perhaps wrapped for several processes.

    Raises:
        UsageError: the model has no `backbone`.
    """
    net, name = getattr(inner(model), "backbone", None), "backbone"
    if not isinstance(net, nn.Module):
        raise UsageError(
            f"{type(inner(model)).__name__} has no backbone, so no blocks can be counted: name"
            " fragments"
        )
    while True:
        children = dict(net.named_children())
        wrapped = next((one for one in ("net", "model") if one in children), None)
        if wrapped is None or len(children) > 1 and wrapped != "net":
            return name, net
        name, net = f"{name}.{wrapped}", children[wrapped]


def layer_blocks(net: nn.Module) -> list[list[str]]:
    """The single blocks of a network, from its stem on, each as the dotted names of the modules it
    consists of.

    Stages (`layer1`, `blocks.0`, `layers_0.blocks`, a dense block …) are opened; what stands before
    the first block is the stem; modules without parameters belong to what stands before them.
    """
    made: list[list[str]] = [[]]
    for child, module in net.named_children():
        inside = list(_open_container(module, child))
        started = len(made) > 1 or len(inside) > 1 or inside[0][0] != child
        if started and any(True for _ in module.parameters()):
            made += inside
        else:
            made[-1].append(child)
    return [unit for unit in made if unit]


def _open_container(module: nn.Module, name: str) -> Iterator[list[str]]:
    """The blocks of a stage; a module that is no stage is one block."""
    stage = getattr(module, "blocks", None)
    if isinstance(stage, CONTAINERS):
        beside = [f"{name}.{child}" for child, _ in module.named_children() if child != "blocks"]
        first, *rest = _open_container(stage, f"{name}.blocks")
        yield [*beside, *first]
        yield from rest
    elif _is_stage(module):
        for child, part in module.named_children():
            yield from _open_container(part, f"{name}.{child}")
    else:
        yield [name]


def _is_stage(module: nn.Module) -> bool:
    """Whether a module's children are blocks of one kind, or stages, and not single layers."""
    children = list(module.children())
    deep = [one for one in children if any(True for _ in one.children())]
    alike = len({type(one) for one in children}) == 1
    return bool(deep) and len(deep) == len(children) and (alike or isinstance(module, CONTAINERS))


def near(wanted: str, names: Iterable[str]) -> str:
    """Names a reader may have meant, for a message: whole ones and their beginnings."""
    split = [name.split(".") for name in names]
    known = sorted({".".join(parts[:size]) for parts in split for size in range(1, len(parts) + 1)})
    found = difflib.get_close_matches(wanted, known, 4, 0.4)
    if not found:
        return f"names begin with {', '.join(sorted({parts[0] for parts in split}))}"
    return f"near it: {', '.join(found)}"
