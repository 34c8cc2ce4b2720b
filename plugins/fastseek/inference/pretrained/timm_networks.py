"""Networks of timm by name, with weights that are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import get_pretrained_cfg
from torch import nn

from ...errors import ArtefactError, UsageError
from ...modeling.layers.tensor_files import Tensors
from ...suggestions import near_names


def check_network_name(name: str) -> None:
    """Check that timm knows a network, and its weights where a tag names them.

    Raises:
        UsageError: it does not; names the nearest.
    """
    network, _, tag = name.partition(".")
    if not timm.is_model(network):
        near = near_names(network, timm.list_models(), 3)
        raise UsageError(f"timm knows no {network!r}; near it: {', '.join(near) or 'nothing'}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        told = ", ".join(tags) or "none"
        raise UsageError(f"timm has no weights {tag!r} of {network}; it has {told}")


def find_config(name: str) -> dict[str, Any]:
    """What timm says of a network's weights: their hub, size, mean, deviation, licence."""
    config = get_pretrained_cfg(name)
    return {} if config is None else config.to_dict()


def build_network(name: str, tensors: Tensors, where: str, size: int = 0) -> nn.Module:
    """The network without its classifier, with these weights, for evaluation.

    Position embeddings are resized where the size asks for it.

    Args:
        name: of timm, with its tag if wanted.
        tensors: a state dict of the whole network, perhaps without its classifier.
        where: what an error calls them.
        size: side of the images; 0 is the network's own.

    Raises:
        ArtefactError: the tensors do not fit. UsageError: the network cannot take the size.
    """
    config = find_config(name)
    overlay = {
        "state_dict": leave_classifier(name, tensors),
        "num_classes": 0,  # else timm takes the classifier for missing and passes over all else
        "label_offset": 0,
        "custom_load": False,
    }
    own = tuple(config.get("input_size") or (3, 224, 224))[1:]
    wanted = (size, size) if size else own
    net = _create(name, overlay, wanted if wanted != own else None, where)
    _forget_weights(net)
    return net.eval()


def leave_classifier(name: str, tensors: Tensors) -> Tensors:
    """The tensors without those of the network's classifier."""
    names = find_config(name).get("classifier") or ()
    last = tuple(f"{one}." for one in ([names] if isinstance(names, str) else names))
    return {key: value for key, value in tensors.items() if not (last and key.startswith(last))}


def _create(
    name: str, overlay: Mapping[str, Any], size: tuple[int, int] | None, where: str
) -> nn.Module:
    """`timm.create_model`, told of the size only where the network asks for it."""
    options: dict[str, Any] = {"pretrained_cfg_overlay": dict(overlay), "num_classes": 0}
    try:
        if size is not None:
            try:
                return timm.create_model(name, pretrained=True, img_size=size, **options)
            except TypeError as error:
                if "img_size" not in str(error):
                    raise
        return timm.create_model(name, pretrained=True, **options)
    except (RuntimeError, KeyError) as error:
        problems = " ".join(str(error).split())
        raise ArtefactError(f"{where}: its tensors do not fit {name}: {problems[:600]}") from error
    except (AssertionError, TypeError, ValueError) as error:
        told = f" at size {size[0]}" if size else ""
        raise UsageError(f"timm cannot make {name}{told}: {error}") from error


def _forget_weights(net: nn.Module) -> None:
    """Drop the state dict that timm keeps beside the network it was loaded into."""
    config = getattr(net, "pretrained_cfg", None)
    if isinstance(config, dict):
        config.pop("state_dict", None)


def data_config(net: nn.Module, size: int = 0) -> dict[str, Any]:
    """How images are prepared for a network, as timm tells it; at another size if one is given."""
    found = dict(resolve_model_data_config(net))
    if size:
        found["input_size"] = (3, size, size)
    return found


def count_parameters(net: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(parameter.numel() for parameter in net.parameters())


def empty_network(name: str) -> nn.Module:
    """The network without memory for its weights, to ask for its shape.

    Raises:
        UsageError: timm cannot make it so.
    """
    try:
        with torch.device("meta"):
            return timm.create_model(name, pretrained=False, num_classes=0)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, AssertionError) as error:
        raise UsageError(f"timm cannot make {name}: {error}") from error
