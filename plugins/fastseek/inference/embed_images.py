"""Any images and a trained model -> an embeddings folder."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from torch import nn

from ..config import recipe
from ..config.edits import replace_values, without_pretrained
from ..data.datasets.folder import list_images
from ..data.datasets.manifest import Manifest
from ..data.single_image import read_single_image
from ..distributed.device import device
from ..errors import DataError, UsageError
from ..io.paths import PathLike
from ..modeling.weight_files import load_weights
from ..structures import Embeddings, Item
from ..structures.class_file import check_class_file, read_class_file
from ..structures.identity import unique_items
from . import embedding

from fastreid.modeling import build_model


def embed_images(
    config_file: PathLike,
    weights: PathLike,
    images: PathLike,
    out: PathLike,
    opts: Sequence[str] = (),
) -> str:
    """Embed a folder or a list of images; a killed run goes on where it stopped.

    Args:
        config_file: the recipe the weights were trained with.
        weights: a checkpoint, .safetensors or .pth.
        images: a folder, searched through, whose images get their path below it as id; or a CSV or
            Parquet file.
        out: folder of the embeddings.
        opts: KEY VALUE changes to the recipe.

    Returns:
        a line telling how many images were embedded and how many could not be read.
    """
    cfg = recipe.load(config_file, opts)
    items, root = images_of(images)
    model = load_model(cfg, weights)
    found = embedding.to_store(
        cfg, model, items, out, root, what=f"embedding {pathlib.Path(images).name}"
    )
    return describe(found, len(items), "numbers each", out)


def describe(found: Embeddings, total: int, what: str, out: PathLike) -> str:
    """A line telling how many of the images have a vector in `out`, how long it is, and how many
    could not be read.
    """
    lost = total - len(found)
    rest = f"; {lost} could not be read, see {pathlib.Path(out) / 'rejects.csv'}" if lost else ""
    return f"{len(found)} of {total} images, {found.dim} {what} -> {out}{rest}"


def images_of(images: PathLike) -> tuple[list[Item], str]:
    """The images of a folder (every image below it) or a table, each image once, or one image, and
    the folder ids are relative to.

    Raises:
        DataError: nothing is there, a file of another kind, or an id of the table names two files.
    """
    single = read_single_image(images)
    if single is not None:
        items, root = [single], os.path.dirname(images)
    elif os.path.isdir(images):
        items, root = list_images(os.fspath(images)), os.fspath(images)
    else:
        table = Manifest(os.fspath(images))
        items, root = unique_items(table.items, os.fspath(images)), table.root
    if not items:
        raise DataError(f"{images}: no image found in it or below")
    return items, os.path.abspath(root)


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
