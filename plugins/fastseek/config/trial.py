"""Parts of the training half tried on stand-ins: what a recipe gets wrong is told before any data is
read.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from ..errors import UsageError
from ..registry import (
    BACKBONES,
    BRANCHES,
    LOSSES,
    SAMPLERS,
    SCHEDULES,
    Registry,
    build,
    parse,
)

PACKAGE = __package__.partition(".")[0]
WIDTH = 64  # channels and dimensions of a stand-in, which small numbers divide
IMAGES = 64  # of a class of a stand-in
COUNTS = (3, 2, 1)
MAP_OF_FASTREID = "s4"  # what its backbones' one map is called


@runtime_checkable
class NamesMaps(Protocol):
    """A backbone that knows the names of its maps before it is built."""

    @staticmethod
    def maps_of(**arguments: Any) -> Sequence[str]:
        """The names, given the recipe's arguments and the defaults; refuses what cannot be."""


class AnyName(Mapping[str, int]):
    """A mapping that has every name, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __getitem__(self, name: str) -> int:
        self.asked.append(name)
        return WIDTH

    def __iter__(self) -> Iterator[str]:
        return iter(self.asked)

    def __len__(self) -> int:
        return len(self.asked)


def try_loss(call: str) -> str:
    """Build a loss of ours for an embedding of any name; the name it wants, "" for one of others.

    Raises:
        UsageError: it refuses its arguments.
    """
    if not is_ours(call, LOSSES):
        return ""
    with torch.random.fork_rng(devices=[]):
        loss: Any = build(call, LOSSES, dims=AnyName(), counts=torch.tensor(COUNTS))
    return str(loss.on)


def try_branch(call: str) -> tuple[list[str], list[str]] | None:
    """Build a branch of ours over maps of any name, without values.

    Returns:
        the maps it wants and the embeddings it gives; None for a branch of others.

    Raises:
        UsageError: it refuses its arguments.
    """
    if not is_ours(call, BRANCHES):
        return None
    channels = AnyName()
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        branch: Any = build(call, BRANCHES, channels=channels)
    return channels.asked, list(branch.dims)


def try_schedule(call: str, epochs: int) -> None:
    """Build a schedule of ours over so many epochs.

    Raises:
        UsageError: it refuses its arguments.
    """
    if is_ours(call, SCHEDULES):
        build(call, SCHEDULES, iters_per_epoch=100, max_epoch=max(epochs, 1), base_lr=1.0)


def try_sampler(call: str, batch_size: int) -> None:
    """Build a sampler of ours over more classes and images than a batch can want.

    Raises:
        UsageError: it refuses its arguments.
    """
    if is_ours(call, SAMPLERS):
        labels = np.repeat(np.arange(batch_size + 1), IMAGES)
        groups = np.arange(len(labels)) % 4
        try:
            build(
                call,
                SAMPLERS,
                labels=labels,
                groups=groups,
                batch_size=batch_size,
                world_size=1,
                seed=0,
            )
        except UsageError as error:
            # the message counts the images it was tried on, which are not the user's
            raise UsageError(f"{error} (tried on made-up images)") from error


def maps_of(call: str) -> list[str] | None:
    """The maps of the backbone a recipe names, without building it; None where it does not tell.

    Raises:
        UsageError: the backbone refuses its arguments.
    """
    if not call:
        return [MAP_OF_FASTREID]
    name, args, kwargs = parse(call)
    member = BACKBONES.get(name)
    if not isinstance(member, NamesMaps):
        return None
    constructor: Any = member
    bound = inspect.signature(constructor).bind(*args, **kwargs)
    bound.apply_defaults()
    try:
        return list(member.maps_of(**bound.arguments))
    except ValueError as error:
        raise UsageError(f"{call!r}: {error}") from error


def check_names(cfg: Any) -> tuple[str, str] | None:
    """The first key whose parts want a map or an embedding that is not there, and what is wrong.

    None where all is well, or where a part of others does not say what it gives.
    """
    branches = [try_branch(call) for call in cfg.SEEK.BRANCHES]
    maps = maps_of(cfg.SEEK.BACKBONE)
    for call, found in zip(cfg.SEEK.BRANCHES, branches, strict=True):
        missing = [one for one in found[0] if one not in maps] if maps and found else []
        if maps and missing:
            told = f"{call!r} wants the map {missing[0]!r}, the backbone gives {', '.join(maps)}"
            return "SEEK.BRANCHES", told
    if not all(branches):
        return None
    known = [name for found in branches if found for name in found[1]]
    for call in cfg.SEEK.LOSSES:
        wanted = try_loss(call)
        if wanted and wanted not in known:
            told = f"{call!r} wants the embedding {wanted!r}, the branches give {', '.join(known)}"
            return "SEEK.LOSSES", told
    return None


def is_ours(call: str, members: Registry[Any]) -> bool:
    """Whether a part is FastSeek's own; of others it is not known what a stand-in does to them."""
    return str(members.get(parse(call)[0]).__module__).startswith(f"{PACKAGE}.")
