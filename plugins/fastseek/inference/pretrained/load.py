"""A model by its name."""

from __future__ import annotations

import dataclasses
from typing import Any

import timm
import torch

from ... import __version__
from ...errors import UsageError, is_out_of_memory, shorten
from ...io.digests import sha256
from ...modeling.layers import wheel_weights
from ...modeling.layers.tensor_files import Tensors, hash_tensors, read_tensors
from .embedding_net import EmbeddingNet
from .engines import find_device, run_eagerly
from .image_model import ImageModel
from .options import ModelOptions
from .preprocessing import build_transform, read_preprocessing
from .timm_networks import build_network, check_network_name, data_config, leave_classifier

DEFAULT = "default"
OWN_WAY = ModelOptions()
NAMES = """default, timm:NETWORK, timm:NETWORK@weights.safetensors"""


def load_model(name: str = DEFAULT, options: ModelOptions = OWN_WAY) -> ImageModel:
    """A model that embeds images, by name.

    Args:
        name: "default" (EfficientNet-Lite0 of ImageNet); "timm:NETWORK" for any of timm, such as
            timm:vit_small_patch16_dinov3; "timm:NETWORK@FILE" with weights of a local file.
        options: how it is run.

    Raises:
        UsageError: no model is called so, or it cannot be run so; says what there is.
        DataError: its weights are not here; says how to get them.
        ArtefactError: its weights do not fit, or are not those that were published.
    """
    if options.engine not in ("", "eager"):
        raise UsageError(f"engine {options.engine} is not there yet: leave it out")
    if name == DEFAULT:
        tensors = wheel_weights.read_weights()
        origin = {"file": wheel_weights.FILE, "sha256": wheel_weights.SHA256}
        return _build(name, wheel_weights.NETWORK, tensors, origin, options)
    kind, _, rest = name.partition(":")
    if kind != "timm" or not rest:
        raise UsageError(f"no model is called {name!r}: expected {NAMES}")
    network, _, file = rest.partition("@")
    check_network_name(network)
    if not file:
        raise UsageError(f"{name}: name a file of its weights, timm:{network}@weights.safetensors")
    tensors, origin = read_tensors(file), {"file": file, "sha256": sha256(file)}
    return _build(name, network, tensors, origin, options)


def _build(
    name: str, network: str, tensors: Tensors, origin: dict[str, Any], options: ModelOptions
) -> ImageModel:
    """The model of a network of timm and its weights."""
    net = build_network(network, tensors, origin["file"], options.size)
    config = data_config(net, options.size)
    preprocessing = read_preprocessing(config, network)
    pooling = options.pooling or "head"
    precision = options.precision or "float32"
    module = EmbeddingNet(net, pooling, preprocessing.mean, preprocessing.std, precision).eval()
    model = ImageModel(
        name=name,
        dim=0,
        provenance={},
        transform=build_transform(preprocessing),
        network=run_eagerly(module, find_device(options.device)),
    )
    described = {**preprocessing.describe(), "pooling": pooling}
    if precision != "float32":
        described["precision"] = precision
    provenance = {
        "name": name,
        # of what was read: position embeddings are resized, which is a matter of the size
        "model": hash_tensors(leave_classifier(network, tensors)),
        "network": network,
        "weights": origin["sha256"],
        "preprocessing": described,
        "views": [],
        "versions": {
            "fastseek": __version__,
            "torch": torch.__version__,
            "timm": timm.__version__,
        },
    }
    dim = _count_numbers(model, preprocessing.size, network)
    return dataclasses.replace(model, dim=dim, provenance=provenance)


def _count_numbers(model: ImageModel, size: tuple[int, int], network: str) -> int:
    """How long the vectors are, told by an image of nothing.

    Raises:
        UsageError: the network refuses images of that size.
    """
    try:
        return model.vectors(torch.zeros((1, 3, *size), dtype=torch.uint8)).shape[1]
    except (AssertionError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        told = shorten(" ".join(str(error).split()))
        raise UsageError(
            f"{network} takes no images of {size[0]} x {size[1]} ({told}): name another size"
        ) from error
