"""Any images and a trained model -> an embeddings folder."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..config import recipe
from ..config.edits import replace_values, without_pretrained
from ..distributed.device import device
from ..errors import UsageError
from ..io.paths import PathLike
from ..modeling.weight_files import load_weights
from ..structures import Embeddings, Item
from ..structures.class_file import check_class_file, read_class_file
from ..structures.job_part import JobPart
from ..structures.remote_embeddings import store_part_anywhere
from . import embedding

from fastreid.modeling import build_model


def embed_with_recipe(
    recipe_file: PathLike,
    weights: PathLike,
    opts: Sequence[str],
    items: Sequence[Item],
    root: str,
    out: PathLike,
    part: JobPart,
) -> Embeddings | None:
    """Embed images; a killed run goes on where it stopped.

    Args:
        recipe_file: the recipe the weights were trained with.
        weights: a checkpoint, .safetensors or .pth.
        opts: KEY VALUE changes to the recipe.
        items: what is embedded.
        root: the folder the ids are relative to.
        out: folder of the embeddings.
        part: which shards.

    Returns:
        the embeddings, None while shards of other parts are missing.
    """
    cfg = recipe.load(recipe_file, opts)
    model = load_model(cfg, weights)
    what = f"embedding {pathlib.Path(root).name}{part.suffix}"
    return store_part_anywhere(*embedding.job_of(cfg, model, items, root, what), out, part)


def load_model(cfg: Any, weights: PathLike) -> nn.Module:
    """Build a recipe's model for embedding and load its weights; the class weights are not needed.

    Raises:
        UsageError: no weights are named. ArtefactError: they do not fit the recipe.
    """
    if not os.fspath(weights):
        raise UsageError("no weights are named: give the checkpoint the recipe was trained to")
    model = build_model(recipe_of_weights(cfg, weights))
    load_weights(model, weights)
    return model.eval()


def recipe_of_weights(cfg: Any, weights: PathLike) -> Any:
    """The recipe the model of some weights is built by, with the classes beside them, if any.

    Raises:
        ArtefactError: the classes are not those of the weights.
    """
    return with_classes(cfg, classes_beside(weights))


def classes_beside(weights: PathLike, needed: bool = False) -> pathlib.Path | None:
    """The classes.json beside weights, None when there is none.

    Args:
        weights: a checkpoint.
        needed: whether the path is given though there is no file.

    Raises:
        ArtefactError: the checkpoint was trained with another.
    """
    file = pathlib.Path(weights).parent / "classes.json"
    if not needed and not file.exists():
        return None
    check_class_file(file, weights)
    return file


def with_classes(cfg: Any, labels: PathLike | None) -> Any:
    """The recipe a trained model is built by: nothing of its own to load, and the classes of
    classes.json, if any.

    Raises:
        DataError: the file of the classes cannot be read. ArtefactError: it holds something else.
    """
    values = {
        "SEEK.CLASSES": str(labels) if labels else "",
        "MODEL.HEADS.NUM_CLASSES": len(read_class_file(labels).labels) if labels else 0,
        "MODEL.DEVICE": device(cfg.MODEL.DEVICE),
    }
    return replace_values(without_pretrained(cfg), values)
