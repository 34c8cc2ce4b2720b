"""A trained model -> what fast-reid alone loads: its Checkpointer, its Distiller, its demo."""

from __future__ import annotations

import logging
import os
import pathlib
from typing import Any

import torch

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..config import recipe
from ..config.nested import flatten
from ..errors import UsageError
from ..io.atomic import atomic, check_apart
from ..io.paths import PathLike
from .embed_images import load_model, recipe_of_weights

from fastreid.config import CfgNode, get_cfg
from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY

logger = logging.getLogger("fastreid.fastseek")
RECIPE, WEIGHTS = "config.yaml", "model_final.pth"
# What fast-reid builds by name, and where it looks the name up.
BUILT = {
    "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
    "MODEL.BACKBONE.NAME": BACKBONE_REGISTRY,
    "MODEL.HEADS.NAME": REID_HEADS_REGISTRY,
}


def export_fastreid(
    config_file: PathLike, weights: PathLike, out: PathLike, opts: tuple[str, ...] = ()
) -> str:
    """Write a folder with config.yaml, without our keys, and model_final.pth, a dict with "model".

    `KD.MODEL_CONFIG` and `KD.MODEL_WEIGHTS` of a Distiller take the two. Data sets that only we
    read are left out, and so are files the training started from.

    Args:
        config_file: the recipe the weights were trained with.
        weights: a checkpoint, .safetensors or .pth.
        out: the folder.
        opts: KEY VALUE changes to the recipe.

    Returns:
        a line telling what was written and what was left out.

    Raises:
        UsageError: fast-reid has no such architecture, backbone or head: a Seeker stays ours.
        ArtefactError: the weights do not fit the recipe.
    """
    folder = pathlib.Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{out}: name a folder; it gets {RECIPE} and {WEIGHTS}")
    for name in (RECIPE, WEIGHTS):
        check_apart(folder / name, [config_file, weights])
    cfg = recipe.load(config_file, opts)
    _refuse_ours(cfg)
    model = load_model(cfg, weights)
    made, left_out = _plain_recipe(recipe_of_weights(cfg, weights))
    # Tensors alone: fast-reid's Checkpointer reads with weights_only on today's torch.
    tensors = {name: one.detach().cpu().contiguous() for name, one in model.state_dict().items()}
    with atomic(folder / WEIGHTS) as file:
        torch.save({"model": tensors}, file)
    with atomic(folder / RECIPE, "w") as file:
        file.write(made.dump())
    lost = f"; left out of the recipe: {', '.join(left_out)}" if left_out else ""
    return f"{os.fspath(out)}: {RECIPE} and {WEIGHTS} ({len(tensors)} tensors) for fast-reid{lost}"


def _refuse_ours(cfg: Any) -> None:
    keys = flatten(cfg)
    for key, members in BUILT.items():
        name = keys[key]
        known = members._obj_map.get(name)
        if known is None or not known.__module__.startswith("fastreid."):
            raise UsageError(
                f"{key} {name!r} is not of fast-reid, which could not build the model without"
                " fastseek: export it as .onnx or .pt2, or train with MODEL.META_ARCHITECTURE"
                " Baseline"
            )


def _plain_recipe(cfg: Any) -> tuple[CfgNode, list[str]]:
    """The recipe with the keys of fast-reid alone, and what of it was left out."""
    made = get_cfg()
    values = flatten(cfg)
    left_out = []
    for key in flatten(made):
        value = values[key]
        if key in ("DATASETS.NAMES", "DATASETS.TESTS"):
            theirs = tuple(name for name in value if _is_theirs(name))
            left_out += [f"{key} {name}" for name in value if name not in theirs]
            value = theirs
        made.merge_from_list([key, value])
    # A teacher gets its weights from the file beside it; nothing is to be fetched before.
    made.MODEL.WEIGHTS = ""
    made.MODEL.BACKBONE.PRETRAIN, made.MODEL.BACKBONE.PRETRAIN_PATH = False, ""
    return made, left_out


def _is_theirs(dataset: str) -> bool:
    known = DATASET_REGISTRY._obj_map.get(dataset)
    return known is not None and known.__module__.startswith("fastreid.")
