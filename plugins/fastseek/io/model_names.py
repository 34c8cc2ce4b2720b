"""Names of models whose paths mean the same in every working folder."""

from __future__ import annotations

import contextlib
import os
import pathlib

from ..errors import DataError
from .paths import locate

WEIGHTS = (".safetensors", ".pth")
RUN = "run:"


def anchor_name(name: str) -> str:
    """A model's name with every path in it absolute; one without a path, such as "default", stays
    as it is, and so does a path where nothing is: what loads the model says so.

    Args:
        name: as `load_model` of `fastseek.inference.pretrained` takes it.
    """
    if name == "default":
        return name
    if name.startswith("timm:"):
        return _anchor_timm(name)
    if name.endswith(".onnx"):
        return _anchor(name)
    if name.startswith(RUN):
        return RUN + _anchor(name.removeprefix(RUN))
    if os.path.isdir(name) or not name.endswith(WEIGHTS):
        return _anchor(name)
    recipe, at, weights = name.rpartition("@")
    return f"{_anchor(recipe)}{at}{_anchor(weights)}"


def _anchor_timm(name: str) -> str:
    """The name of a network of timm, whose weights may lie below one of the roots of data."""
    network, at, weights = name.partition("@")
    if weights:
        with contextlib.suppress(DataError):
            weights = os.path.abspath(locate(weights, "the weights of a model"))
    return f"{network}{at}{weights}"


def _anchor(path: str) -> str:
    """A file or folder that is there by its absolute path; a recipe's own name as it is."""
    return os.path.abspath(path) if path and pathlib.Path(path).exists() else path
