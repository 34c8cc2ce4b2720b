"""Models that were trained with fast-reid or FastSeek: a run's folder, or weights and their recipe."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import torch
import torch.nn.functional as F

from ...errors import DataError, UsageError
from ...io.paths import PathLike, find_recipe
from .engines import EAGER, find_device
from .image_model import ImageModel
from .options import ModelOptions

WEIGHTS = ("model_final.safetensors", "model_final.pth")
SUFFIXES = (".safetensors", ".pth")
RECIPES = (".yml", ".yaml")


def load_run(name: str, options: ModelOptions) -> ImageModel:
    """The model of a run by its folder, "outputs/mine" or "outputs/mine/train".

    Raises:
        DataError: the folder holds no config.yaml with weights beside it.
    """
    folder = pathlib.Path(name.removeprefix("run:"))
    for place in (folder, folder / "train"):
        weights = next((place / one for one in WEIGHTS if (place / one).is_file()), None)
        if weights is not None and (place / "config.yaml").is_file():
            return load_trained(name, place / "config.yaml", weights, options)
    raise DataError(
        f"{folder}: is no folder of a finished training: expected config.yaml and {WEIGHTS[0]} in it"
        " or in its folder train/"
    )


def load_checkpoint(name: str, options: ModelOptions) -> ImageModel:
    """The model of "RECIPE@weights.pth", or of weights with their recipe beside them.

    Raises:
        DataError: there is no such file. UsageError: no recipe is named or lies beside it.
    """
    recipe, _, given = name.rpartition("@")
    weights = pathlib.Path(given)
    if not weights.is_file():
        raise DataError(f"{weights}: there is no such weight file")
    if recipe:
        return load_trained(name, find_recipe(recipe), weights, options)
    beside = [weights.with_suffix(suffix) for suffix in RECIPES]
    beside += [weights.with_name("config.yaml"), weights.with_name("config.yml")]
    found = next((one for one in beside if one.is_file()), None)
    if found is None:
        raise UsageError(
            f"{weights}: no recipe lies beside it ({beside[0].name} or config.yaml): name it,"
            f" RECIPE@{weights}"
        )
    return load_trained(name, found, weights, options)


def load_trained(
    name: str, config_file: PathLike, weights: PathLike, options: ModelOptions
) -> ImageModel:
    """The model of a recipe and its weights; needs fast-reid.

    Raises:
        UsageError: fast-reid is not installed, the recipe is wrong, or needs boxes beside images;
            or an option is given that the recipe decides.
        ArtefactError: the weights do not fit the recipe.
    """
    _check_options(options)
    device = find_device(options.device)

    from ...config import recipe
    from ...data.builders import build_transforms
    from .. import embedding
    from ..embed_images import load_model

    cfg = recipe.load(config_file, ["MODEL.DEVICE", str(device)])
    if cfg.SEEK.CROPS:
        raise UsageError(
            f"{os.fspath(config_file)}: SEEK.CROPS needs boxes beside the images: embed with the"
            " recipe, fastseek embed RECIPE --weights FILE"
        )
    model = load_model(cfg, weights)
    function = embedding.embedder(cfg, model)

    def run(tensors: torch.Tensor) -> torch.Tensor:
        with embedding.evaluating(model):
            return F.normalize(function(tensors.to(device)).float()).cpu()

    transform = build_transforms(cfg, train=False)
    provenance: dict[str, Any] = {**embedding.describe_model(cfg, model), "name": name}
    del provenance["root"]
    provenance["preprocessing"] = {**provenance["preprocessing"], "unit_length": True}
    sample = transform(_gray_image())
    dim = run(sample[None]).shape[1]
    return ImageModel(name, dim, {**provenance, "engine": EAGER}, transform, run)


def _check_options(options: ModelOptions) -> None:
    """Refuse what the recipe of a trained model decides."""
    for key, value in (("pooling", options.pooling), ("size", options.size)):
        if value:
            raise UsageError(
                f"{key} {value}: a trained model's recipe says its {key}: leave it out"
            )
    if options.precision not in ("", "float32") or options.engine not in ("", EAGER):
        raise UsageError(
            "a trained model runs in float32 by plain torch: export it to ONNX for another engine"
        )


def _gray_image() -> Any:
    from PIL import Image

    return Image.new("RGB", (256, 256), (128, 128, 128))
