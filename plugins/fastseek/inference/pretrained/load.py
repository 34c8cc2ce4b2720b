"""A model by its name."""

from __future__ import annotations

import dataclasses
import os

from ...errors import UsageError
from ...io.model_names import anchor_name
from ...suggestions import did_you_mean
from .catalog import list_names
from .image_model import ImageModel
from .onnx_models import load_onnx
from .options import ModelOptions
from .timm_models import load_default, load_timm
from .trained_models import SUFFIXES, load_checkpoint, load_run

DEFAULT = "default"
OWN_WAY = ModelOptions()
NAMES = (
    "default, timm:NETWORK, timm:NETWORK@weights.safetensors, the folder of a training,"
    " RECIPE@weights.pth, or model.onnx"
)


def load_model(name: str = DEFAULT, options: ModelOptions = OWN_WAY) -> ImageModel:
    """A model that embeds images, by name.

    Args:
        name: "default" (EfficientNet-Lite0 of ImageNet, from the package index);
            "timm:NETWORK" for any of timm with weights of the hub, such as
            timm:vit_small_patch16_dinov3; "timm:NETWORK@FILE" with weights of a local file;
            the folder of a training; "RECIPE@weights.pth", or such a file with its recipe beside it;
            a file "model.onnx".
        options: how it is run.

    Raises:
        UsageError: no model is called so, or it cannot be run so; says what there is.
        DataError: its weights are not here; says how to get them.
        ArtefactError: its weights do not fit, or are not those that were published.
    """
    model = _load(name, options)
    # A relative path would depend on the working folder whenever the vectors are used again.
    return dataclasses.replace(model, provenance={**model.provenance, "name": anchor_name(name)})


def _load(name: str, options: ModelOptions) -> ImageModel:
    if name == DEFAULT:
        return load_default(name, options)
    if name.startswith("timm:"):
        return load_timm(name, options)
    if name.endswith(".onnx"):
        return load_onnx(name, options)
    if name.startswith("run:") or os.path.isdir(name):
        return load_run(name, options)
    if name.endswith(SUFFIXES):
        return load_checkpoint(name, options)
    hint = did_you_mean(name, [*list_names(), *(one.partition(":")[2] for one in list_names())])
    raise UsageError(f"no model is called {name!r}: expected {NAMES}{hint}")
