"""The default model, and any network of timm with weights of a file or of the hub."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import timm
import torch

from ... import __version__
from ...errors import DataError, FastSeekError, UsageError, is_out_of_memory, shorten
from ...io.digests import digest, sha256
from ...io.paths import locate
from ...modeling.layers import wheel_weights
from ...modeling.layers.tensor_files import Tensors, hash_tensors, read_tensors
from .embedding_net import EmbeddingNet
from .engines import EAGER, Engines, find_device, start_engines
from .hub_weights import WeightFile, fetch_weights
from .image_model import BATCH, ImageModel
from .local_network import LocalNetwork
from .options import ModelOptions
from .preprocessing import Preprocessing, build_transform, read_preprocessing
from .timm_networks import (
    build_network,
    check_network_name,
    data_config,
    find_config,
    leave_classifier,
)


def load_default(name: str, options: ModelOptions) -> ImageModel:
    """EfficientNet-Lite0 of ImageNet, whose weights a package of the index carries.

    Raises:
        DataError: the package is not installed. ArtefactError: its file is another.
    """
    tensors = wheel_weights.read_weights()
    file = WeightFile(wheel_weights.find_weights(), wheel_weights.SHA256)
    return _build(name, wheel_weights.NETWORK, tensors, file, options)


def load_timm(name: str, options: ModelOptions) -> ImageModel:
    """A network of timm.

    Args:
        name: "timm:NETWORK", with weights of the hub; or "timm:NETWORK@FILE".
        options: how it is run.

    Raises:
        UsageError: timm knows no such network. DataError: its weights are not to be had.
        ArtefactError: they do not fit.
    """
    network, _, given = name.partition(":")[2].partition("@")
    check_network_name(network)
    if given:
        path = locate(given, f"the weights of {network}")
        file = WeightFile(path, sha256(path))
    else:
        file = fetch_weights(*find_repo(network))
    return _build(name, network, read_tensors(file.path), file, options)


def find_repo(network: str) -> tuple[str, str]:
    """Where the hub has a network's weights: repository, and the file's name if it is unusual.

    Raises:
        DataError: it has none; says what to do.
    """
    config = find_config(network)
    repo, file = config.get("hf_hub_id"), config.get("hf_hub_filename")
    if not repo:
        raise DataError(
            f"timm tells no weights of {network} on the hub: name a local file,"
            f" timm:{network}@weights.safetensors"
        )
    return str(repo), str(file or "")


def _build(
    name: str, network: str, tensors: Tensors, file: WeightFile, options: ModelOptions
) -> ImageModel:
    """The model of a network and its weights."""
    net = build_network(network, tensors, str(file.path), options.size)
    preprocessing = read_preprocessing(data_config(net, options.size), network)
    # Of what was read: position embeddings are resized, which is a matter of the size.
    weights = hash_tensors(leave_classifier(network, tensors))
    # Two networks may have the same tensors, and differ in padding or activations.
    architecture = network.partition(".")[0]
    described = _describe(preprocessing, options)
    module = EmbeddingNet(
        net,
        options.pooling or "head",
        preprocessing.mean,
        preprocessing.std,
        options.precision or "float32",
    )
    key = digest([network, weights, described, timm.__version__])
    engines = _start(module, preprocessing, options, key)
    eager = options.engine in ("", EAGER)
    origin = {"repo": file.repo, "revision": file.revision} if file.repo else {}
    model = ImageModel(
        name=name,
        dim=0,
        provenance={
            "name": name,
            "model": digest([architecture, weights]),
            "network": network,
            "weights": {"sha256": file.sha256, **origin},
            "preprocessing": described,
            "views": [],
            "engine": options.engine or EAGER,
            "versions": {
                "fastseek": __version__,
                "torch": str(torch.__version__),
                "timm": timm.__version__,
            },
        },
        transform=build_transform(preprocessing),
        network=engines.build(EAGER),
        engines=None if options.engine else engines,
        local_network=LocalNetwork(module, engines.device) if eager else None,
    )
    dim = _count_numbers(model, preprocessing.size, network)
    return dataclasses.replace(model, dim=dim, network=engines.build(options.engine or EAGER))


def _describe(preprocessing: Preprocessing, options: ModelOptions) -> Mapping[str, Any]:
    """What a provenance tells of how images become vectors."""
    described = {**preprocessing.describe(), "pooling": options.pooling or "head"}
    lower = options.precision not in ("", "float32")
    return {**described, "precision": options.precision} if lower else described


def _start(
    module: EmbeddingNet, preprocessing: Preprocessing, options: ModelOptions, key: str
) -> Engines:
    """What runs the network, on its device."""
    precision, device = module.precision, find_device(options.device)
    module.eval()
    return start_engines(Engines(module, device, preprocessing.size, key, precision, BATCH))


def _count_numbers(model: ImageModel, size: tuple[int, int], network: str) -> int:
    """How long the vectors are, told by an image of nothing.

    Raises:
        UsageError: the network refuses images of that size.
    """
    try:
        return model.vectors(torch.zeros((1, 3, *size), dtype=torch.uint8)).shape[1]
    except FastSeekError:
        raise
    except Exception as error:  # a network says in many ways that it does not like a size
        if is_out_of_memory(error):
            raise
        told = shorten(" ".join(str(error).split()))
        raise UsageError(
            f"{network} takes no images of {size[0]} x {size[1]} ({told}): name another size"
        ) from error
