"""Weight files: reading them safely, and fitting them to a model or saying why they do not fit."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pathlib
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..distributed.process_group import inner
from ..errors import ArtefactError, DataError
from ..io.model_size import CLASS_WEIGHTS
from ..io.paths import PathLike, locate

logger = logging.getLogger("fastreid.fastseek")
Tensors = dict[str, torch.Tensor]
SHOWN = 10
# How weights and model can differ.
NEW = "not in the file"
UNKNOWN = "not in the model"
RESHAPED = "of another shape"
# Buffers that older fast-reid saved and newer does not, and a counter old torch did not have.
HARMLESS = re.compile(r"(^|\.)(pixel_mean|pixel_std|num_batches_tracked)$")


def load_weights(model: nn.Module, path: PathLike) -> None:
    """Load a weight file into a model, in place.

    Class weights may differ from the model's: they are left as they are, and that is logged.

    Args:
        model: any model, perhaps wrapped for several processes.
        path: .safetensors or .pth of ours, of fast-reid (also of its model zoo) or a plain state
            dict; searched for as `io.paths.locate` says.

    Raises:
        DataError: there is no such file.
        ArtefactError: the file is damaged, holds NaN, or does not fit; lists the differences.
    """
    path = locate(path, "MODEL.WEIGHTS")
    fit_tensors(model, read_tensors(path), str(path))
    logger.info("loaded the weights of %s", path)


def read_tensors(path: PathLike) -> Tensors:
    """The tensors of a weight file by name, on the CPU; no code of the file is run.

    Raises:
        DataError: there is no such file.
        ArtefactError: it is damaged or no weight file, or a tensor holds NaN.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such weight file")
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    bad = [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if bad:
        raise ArtefactError(f"{path}: {len(bad)} tensors hold NaN or infinity: {_some(bad)}")
    return tensors


def _read_safetensors(path: pathlib.Path) -> Tensors:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{path}: damaged or not a safetensors file ({error})") from error


def _read_pickle(path: pathlib.Path) -> Tensors:
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 10):
        logger.warning(
            "%s: torch before 2.10 has a known hole in reading .pth files; read only your own", path
        )
    try:
        with torch.serialization.safe_globals(_numbers()):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArtefactError(
            f"{path}: refused, it holds more than tensors and numbers: {str(error)[:300]}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{path}: damaged or not a torch file ({error})") from error
    for key in ("model", "state_dict"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    return _tensors(found, path)


def _numbers() -> list[Any]:
    """What numpy arrays and numbers in older checkpoints are made of, under their old and new
    names.
    """
    # numpy 2 moved `numpy.core` to `numpy._core`
    numpy_2 = importlib.util.find_spec("numpy._core") is not None
    module = importlib.import_module(f"numpy.{'_core' if numpy_2 else 'core'}.multiarray")
    made = [
        (getattr(module, name), f"numpy.{core}.multiarray.{name}")
        for name in ("scalar", "_reconstruct")
        for core in ("core", "_core")
    ]
    return [*made, np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bhilqBHILQefd"}]


def _tensors(found: Any, path: pathlib.Path) -> Tensors:
    if not isinstance(found, Mapping) or not found:
        raise ArtefactError(f"{path}: no weights in it, but a {type(found).__name__}")
    tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in found.items()
    }
    strange = [str(name) for name, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise ArtefactError(
            f"{path}: not a state dict, these entries are no tensors: {_some(strange)}"
        )
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def rename_keys(tensors: Tensors, own: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors under today's names: fast-reid's zoo has `heads.bnneck.*` and
    `heads.classifier.weight`.

    Args:
        tensors: as read.
        own: the state dict of the model, which tells the names that exist.
    """
    made: Tensors = {}
    for name, value in tensors.items():
        made[_today(name, own) if name not in own else name] = value
    return made


def _today(name: str, own: Mapping[str, torch.Tensor]) -> str:
    if name.endswith(".classifier.weight") and name.replace(".classifier.", ".") in own:
        return name.replace(".classifier.", ".")
    found = re.fullmatch(r"(.*)\.bnneck\.(\w+)", name)
    if found:
        # The neck is the batch norm of the bottleneck, behind a convolution when EMBEDDING_DIM is
        # set.
        for number in range(3):
            place = f"{found[1]}.bottleneck.{number}"
            if f"{place}.running_mean" in own:
                return f"{place}.{found[2]}"
    return name


def fit_tensors(
    model: nn.Module,
    tensors: Tensors,
    path: str,
    strict: bool = False,
    may_differ: Callable[[str, str], bool] | None = None,
) -> dict[str, list[str]]:
    """Copy tensors into a model, in place.

    Args:
        model: where they go.
        tensors: by name.
        path: named in messages.
        strict: class weights must fit as well.
        may_differ: whether a tensor may differ so, called with NEW, UNKNOWN or RESHAPED and its
            name; class weights may when it is not given, unless `strict`.

    Returns:
        the names that differ, by how; those "of another shape" with both shapes.

    Raises:
        ArtefactError: a name is missing or unexpected, or a shape differs; the table of differences
            is in the message.
    """
    model = inner(model)
    own = model.state_dict()
    tensors = rename_keys(tensors, own)
    aliases = _aliases(model)
    differences = {
        NEW: [name for name in own if name not in tensors and not aliases[name] & set(tensors)],
        UNKNOWN: [name for name in tensors if name not in own],
        RESHAPED: [
            f"{name} {tuple(tensors[name].shape)}, model {tuple(own[name].shape)}"
            for name in own
            if name in tensors and tensors[name].shape != own[name].shape
        ],
    }

    def legal(kind: str, name: str) -> bool:
        return (
            not strict and bool(CLASS_WEIGHTS.search(name))
            if may_differ is None
            else may_differ(kind, name)
        )

    accepted = [
        name
        for kind, names in differences.items()
        for name in names
        if legal(kind, name.split(" ")[0])
    ]
    left = {
        kind: [name for name in names if name not in accepted and not HARMLESS.search(name)]
        for kind, names in differences.items()
    }
    if any(left.values()):
        raise ArtefactError(_table(path, left, len(own)))
    if accepted and may_differ is None:
        logger.info("%s: class weights not taken from it: %s", path, _some(accepted))
    fitting = {
        name: value
        for name, value in tensors.items()
        if name in own and value.shape == own[name].shape
    }
    model.load_state_dict(fitting, strict=False)
    return differences


def _aliases(model: nn.Module) -> dict[str, set[str]]:
    """For every name in the state dict, all names of the same tensor."""
    names: dict[int, set[str]] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        names.setdefault(id(tensor), set()).add(name)
    return {name: names[id(tensor)] for name, tensor in state.items()}


def _table(path: str, differences: dict[str, list[str]], total: int) -> str:
    lines = [f"{path} does not fit the model ({total} tensors):"]
    for kind, names in differences.items():
        if names:
            lines.append(f"  {len(names)} {kind}:")
            lines += [f"    {name}" for name in names[:SHOWN]]
            lines += [f"    … and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return "\n".join(
        [*lines, "Use the recipe the weights were trained with (config.yaml beside them)."]
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
