"""Weight files: reading their tensors safely."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import pathlib
import pickle
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ...errors import ArtefactError, DataError
from ...io.paths import PathLike

logger = logging.getLogger("fastreid.fastseek")
Tensors = dict[str, torch.Tensor]
SHOWN = 10
LOOKED_AT = 2**24  # numbers that are looked at together


def read_tensors(path: PathLike) -> Tensors:
    """The tensors of a weight file by name, on the CPU; no code of the file is run.

    Raises:
        DataError: there is no such file.
        ArtefactError: it is damaged or no weight file, or a tensor holds NaN.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such weight file")
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    tensors = strip_wrappers(found)
    bad = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    if bad:
        raise ArtefactError(f"{path}: {len(bad)} tensors hold NaN or infinity: {list_some(bad)}")
    return tensors


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; looked at in parts, since class weights can
    fill the memory.
    """
    if not tensor.is_floating_point():
        return True
    return all(bool(part.isfinite().all()) for part in tensor.reshape(-1).split(LOOKED_AT))


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
            f"{path}: not a state dict, these entries are no tensors: {list_some(strange)}"
        )
    return tensors


def strip_wrappers(tensors: Tensors) -> Tensors:
    """Tensors by their names in the bare model: without `module.` and `_orig_mod.`, in any order.

    `module.` goes only where all names begin with it: a model may have a part that is called so.
    """
    made = {name.replace("_orig_mod.", ""): value for name, value in tensors.items()}
    while made and all(name.startswith("module.") for name in made):
        made = {name.removeprefix("module."): value for name, value in made.items()}
    return made


def list_some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def hash_tensors(state: Mapping[str, torch.Tensor], left_out: Container[str] = ()) -> str:
    """SHA-256 over the names, types, shapes and values of tensors, whatever their order.

    Args:
        state: tensors by name.
        left_out: names that do not count.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if name not in left_out:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(
                tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
    return digest.hexdigest()
