"""Images to embeddings, from Python. Needs torch and timm, which are loaded by the first call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..io.paths import PathLike
from ..structures import Embeddings, Item
from ..structures.file_list import list_files, names_image
from .inputs import number_rows

if TYPE_CHECKING:
    from PIL import Image

    from ..inference.pretrained import ImageModel

    Images = PathLike | Image.Image | Sequence[PathLike] | Sequence[Image.Image]


def load_model(
    name: str = "default",
    pooling: str = "",
    size: int = 0,
    device: str = "",
    precision: str = "",
    engine: str = "",
) -> ImageModel:
    """A model that embeds images, by name; `fastseek models list` tells which there are.

    Args:
        name: "default", "timm:NETWORK", "timm:NETWORK@weights.safetensors" …
        pooling: "cls", "mean", "gem" or "head"; "" is the model's own.
        size: side of the images in pixels; 0 is the model's own.
        device: "cpu", "cuda" …; "" is a GPU where there is one.
        precision: "float32", "bf16" or "fp16"; "" is float32.
        engine: "eager", "compile" or "onnx"; "" chooses.

    Raises:
        UsageError: no model is called so, or it cannot be run so. DataError: its weights are not
            here; says how to get them.
    """
    from ..inference import pretrained  # it needs torch, which a search does not

    options = pretrained.ModelOptions(
        pooling=pooling, size=size, device=device, precision=precision, engine=engine
    )
    return pretrained.load_model(name, options)


def embed(
    images: Images,
    model: str | ImageModel = "default",
    out: PathLike | None = None,
    threads: int = 0,
) -> Embeddings:
    """Embed images.

    Args:
        images: a folder, searched through, whose images get their path below it as id; one image;
            a CSV or Parquet table, or a text file with a path a line; a list of files, which get their path below the folder that they
            share; or one or several images of Pillow, which are numbered.
        model: a name, or what `load_model` gave.
        out: the folder that keeps the embeddings; the same call again goes on where a killed one
            stopped. Without it they are in memory only.
        threads: that read images; 0 chooses.

    Raises:
        DataError: nothing is there, or an image cannot be read; with `out` such images are named in
            its rejects.csv instead.
        UsageError: no model is called so, or images of Pillow are to be kept in a folder.
    """
    known = load_model(model) if isinstance(model, str) else model
    return _embed(images, known, out, threads)


def embed_like(images: Images, embeddings: Embeddings, what: str) -> Embeddings:
    """Embed images by the model by name that made some embeddings.

    Raises:
        DataError: as `embed`, and where these do not tell a model's name.
    """
    from ..inference.pretrained.in_memory import load_model_of  # it needs torch

    return _embed(images, load_model_of(embeddings.provenance, what), None, 0)


def are_images(given: Any) -> bool:
    """Whether something is an image, the file of one, or a list of either."""
    if isinstance(given, str | os.PathLike):
        return names_image(given)
    several = given[:1] if isinstance(given, list | tuple) else [given]
    return any(isinstance(one, str | os.PathLike) or _is_drawn(one) for one in several)


def _embed(images: Any, model: ImageModel, out: PathLike | None, threads: int) -> Embeddings:
    from ..inference.pretrained.embed import embed_items  # they need torch
    from ..inference.pretrained.in_memory import embed_in_memory

    drawn = [images] if _is_drawn(images) else images
    if isinstance(drawn, list | tuple) and drawn and all(map(_is_drawn, drawn)):
        if out is not None:
            raise UsageError("images of Pillow have no files: leave out `out`, and save the result")
        tuned = model.tuned(len(drawn))
        vectors = number_rows(tuned.embed(list(drawn), threads), "images")
        return Embeddings(vectors.ids, vectors.vectors, {**tuned.provenance, **vectors.provenance})
    items, root = _list_items(images)
    if out is None:
        return embed_in_memory(model, items, root, threads)
    return embed_items(model, items, root, out, threads)


def _is_drawn(image: Any) -> bool:
    """Whether it is an image of Pillow, without importing that."""
    return any(one.__module__ == "PIL.Image" for one in type(image).__mro__)


def _list_items(images: Any) -> tuple[Sequence[Item], str]:
    """The files, and the folder their ids are relative to.

    Raises:
        DataError, UsageError: there are none, or they are something else.
    """
    from ..data.own_images import images_of  # arrays are searched without Pillow

    if isinstance(images, str | os.PathLike):
        return images_of(images)
    several = list(images) if isinstance(images, Sequence | np.ndarray) else []
    if not several or not all(isinstance(one, str | os.PathLike) for one in several):
        if not isinstance(images, list | tuple | np.ndarray):
            several = []
        kinds = sorted({type(one).__name__ for one in several}) or [type(images).__name__]
        listed = isinstance(images, list | tuple | np.ndarray)
        raise UsageError(
            f"images: expected a folder, a file, a list of files or of images of Pillow, got"
            f" {', '.join(kinds) if several else ('an empty ' if listed else '') + kinds[0]}"
        )
    return list_files(several)
