"""Learning rates of their own for parts of a model: by name, and falling from the head down to the
stem.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from torch import nn

from ..config.solver_values import BLOCKS, DECAYS, LAYER_DECAY, parse_rate
from ..distributed.process_group import inner
from ..errors import UsageError
from ..modeling.layer_order import layer_stages, near, network, parameters_up_to
from ..registry import whole_argument

logger = logging.getLogger("fastreid.fastseek")


def factors(model: nn.Module, entries: Sequence[str]) -> dict[str, float]:
    """What the learning rate of every trainable parameter is multiplied with, by its name.

    The first entry that fits a parameter decides; without one it is 1. "layer_decay: 0.75" fits the
    network in the backbone: its last block has 0.75 of what stands behind it (branches, losses),
    the block before 0.75 of that, and so on down to the stem. "stage_decay: 0.5" does so stage by
    stage: in a network of ninety blocks a power a block would leave most of them as they are. The
    factors reach the groups of the optimizer, so that every schedule keeps them; timm's `lr_scale`
    would be lost under torch's (Clark et al. 2020, ELECTRA, section 3.1, has the decay).

    Args:
        model: perhaps wrapped for several processes.
        entries: "fragment of a name: factor", "blocks(15): factor" (the stem and the blocks 0 to
            15, as for SEEK.FREEZE), "layer_decay: factor" or "stage_decay: factor".

    Raises:
        UsageError: an entry of another form, a factor that is none, or one that fits nothing.
    """
    names = [name for name, parameter in inner(model).named_parameters() if parameter.requires_grad]
    known = [name for name, _ in inner(model).named_parameters()]
    made: dict[str, float] = {}
    for entry in entries:
        fragment, factor = parse_rate(entry)
        if fragment in DECAYS:
            found = _decay_by_depth(model, factor, by_stage=fragment != LAYER_DECAY)
        elif BLOCKS.fullmatch(fragment):
            found = dict.fromkeys(_first_blocks(model, whole_argument(fragment)), factor)
        else:
            found = {name: factor for name in known if fragment in name}
        if not found:
            raise UsageError(f"SEEK.RATES {entry!r} fits no parameter; {near(fragment, known)}")
        made = found | made
    return {name: made.get(name, 1.0) for name in names}


def _decay_by_depth(model: nn.Module, decay: float, by_stage: bool) -> dict[str, float]:
    place, net = network(model)
    stages = layer_stages(net)
    levels = stages if by_stage else [[unit] for stage in stages for unit in stage]
    depths = {part: depth for depth, units in enumerate(levels) for unit in units for part in unit}
    made = {}
    for name, _ in net.named_parameters():
        # A class token or a position embedding stands in no block and goes with the stem.
        depth = next((depths[part] for part in _beginnings(name) if part in depths), 0)
        made[f"{place}.{name}"] = decay ** (len(levels) - depth)
    return made


def _beginnings(name: str) -> list[str]:
    """ "a.b.weight" -> ["a", "a.b"]."""
    parts = name.split(".")
    return [".".join(parts[:size]) for size in range(1, len(parts))]


def _first_blocks(model: nn.Module, last: int) -> list[str]:
    place, net = network(model)
    return [f"{place}.{name}" for name in parameters_up_to(net, last)[0]]


def table(model: nn.Module, found: Mapping[str, float]) -> str:
    """A line for every run of neighbouring parameters with the same factor: factor, how many
    numbers, first to last.
    """
    sizes = {name: parameter.numel() for name, parameter in inner(model).named_parameters()}
    runs: list[list[str]] = []
    for name in found:
        if runs and found[runs[-1][-1]] == found[name]:
            runs[-1].append(name)
        else:
            runs.append([name])
    return "\n".join(
        f"{found[run[0]]:10.4g}  {sum(sizes[name] for name in run):12,d}  {run[0]}"
        + (f" to {run[-1]}" if len(run) > 1 else "")
        for run in runs
    )
