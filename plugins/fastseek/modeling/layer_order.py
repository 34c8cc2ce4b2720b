"""The layers of a backbone in order of depth: what "the first k blocks" and "a rate for each block"
speak of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from ..distributed.process_group import inner
from ..errors import UsageError
from ..suggestions import near_names

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
    return [unit for stage in layer_stages(net) for unit in stage]


def layer_stages(net: nn.Module) -> list[list[list[str]]]:
    """The blocks of a network by stage, as `layer_blocks` names them; the first is the stem.

    A layer between two stages belongs to the one before it, and so does what follows the last.
    """
    made: list[list[list[str]]] = [[[]]]
    for child, module in net.named_children():
        stages = _open_stages(module, child)
        started = len(made) > 1 or stages != [[[child]]]
        if not started or not any(True for _ in module.parameters()):
            made[-1][-1].append(child)
        elif stages == [[[child]]]:
            made[-1].append([child])
        else:
            made += stages
    return [units for stage in made if (units := [unit for unit in stage if unit])]


def parameters_up_to(net: nn.Module, last: int) -> tuple[list[str], list[nn.Module]]:
    """What "blocks(last)" means: the stem and the blocks 0 to `last` behind it.

    A block is one unit of a stage, such as a bottleneck of a ResNet or a layer of a DenseNet, in
    the order of `layer_blocks`; a layer between two stages counts as one, layers behind the last
    stage do not. A class token or a
    position embedding stands in no block and goes with the stem.

    Args:
        net: the network, see `network`.
        last: number of the last block, from 0.

    Returns:
        the names of the parameters in the network, and its modules.

    Raises:
        UsageError: the network has no stages, or fewer blocks; says how many.
    """
    stem, *stages = layer_stages(net)
    units = [unit for stage in stages for unit in stage]
    while units and "." not in units[-1][0]:
        units.pop()  # behind the last stage: a final convolution or norm
    if not units or last >= len(units):
        known = f"blocks 0 to {len(units) - 1}" if units else "no stages, so no blocks"
        shown = ", ".join(unit[0] for unit in units) or "name fragments instead"
        raise UsageError(f"blocks({last}): {type(net).__name__} has {known}: {shown}")
    parts = [part for unit in [*stem, *units[: last + 1]] for part in unit]
    direct = [name for name, _ in net.named_parameters(recurse=False)]
    inside = [f"{part}.{name}" for part in parts for name, _ in _parameters(net, part)]
    modules = [module for part in parts for module in net.get_submodule(part).modules()]
    return [*direct, *inside], modules


def _parameters(net: nn.Module, part: str) -> Iterator[tuple[str, nn.Parameter]]:
    return net.get_submodule(part).named_parameters()


def _open_stages(module: nn.Module, name: str) -> list[list[list[str]]]:
    """The stages in a module, each with its blocks; a module that is no stage is one block."""
    stages: dict[str, list[list[str]]] = {}
    for unit in _open_container(module, name):
        stages.setdefault(unit[-1].rpartition(".")[0], []).append(unit)
    return list(stages.values())


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
    found = near_names(wanted, known, 4, 0.4)
    if not found:
        return f"names begin with {', '.join(sorted({parts[0] for parts in split}))}"
    return f"near it: {', '.join(found)}"
