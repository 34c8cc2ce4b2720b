"""Models that are ONNX files: ours, which say what they are, and others with a file beside them."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2

from ...data.transforms._image_ops import to_tensor
from ...data.transforms._pipeline import compose
from ...errors import ArtefactError, DataError, UsageError
from ...io.digests import sha256
from ...io.json_files import read_json
from .engines import ONNX
from .image_model import ImageModel, Network
from .onnx_programs import METADATA, RUNNING, OnnxNetwork, need_packages, open_session
from .options import ModelOptions
from .preprocessing import Transform, build_transform, read_preprocessing

# What `describe_model` calls fast-reid's own transforms.
FASTREID = re.compile(
    r"fastreid: resize\(\[(\d+), (\d+)\], bicubic\)(?:, center_crop\(\[(\d+), (\d+)\]\))?"
)


def load_onnx(name: str, options: ModelOptions) -> ImageModel:
    """The model of an ONNX file.

    `fastseek export` writes into the file how images are prepared. Beside another file, model.onnx,
    a model.json says it: {"size": [224, 224], "mean": […], "std": […], "interpolation": "bicubic",
    "crop_pct": 0.875}; its input is then float32 [B, 3, H, W] of pixels so normalized.

    Raises:
        DataError: there is no such file. ArtefactError: it is no ONNX file of one input and output.
        UsageError: nothing says how images are prepared, or an option is given that the file
            decides.
    """
    file = pathlib.Path(name)
    if not file.is_file():
        raise DataError(f"{file}: there is no such ONNX file")
    _check_options(options)
    need_packages(RUNNING, f"{file}", "take another model")
    session = open_session(file, torch.get_num_threads())
    told = session.get_modelmeta().custom_metadata_map.get(METADATA)
    network = OnnxNetwork(session)
    if told is None:
        return _build_plain(file, name, network)
    return _build_own(file, name, network, told)


def _build_own(file: pathlib.Path, name: str, network: Network, told: str) -> ImageModel:
    """The model of a file that `export` wrote: pixels of 0..255 after the recipe's transforms."""
    try:
        provenance = json.loads(told)
        calls = provenance["preprocessing"]["test"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{file}: what it says of itself cannot be read ({error!r})") from error
    described = {**provenance["preprocessing"], "unit_length": True}
    provenance = {**provenance, "preprocessing": described}
    provenance.pop("root", None)
    return _finish(file, name, network, _build_calls(calls, file), provenance)


def _build_plain(file: pathlib.Path, name: str, network: Network) -> ImageModel:
    """The model of a file of elsewhere with its JSON beside it."""
    beside = file.with_suffix(".json")
    if not beside.is_file():
        raise UsageError(
            f"{file}: nothing says how images are prepared for it: put {beside.name} beside it,"
            ' {"size": [224, 224], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'
        )
    config = read_json(beside)
    if not isinstance(config, Mapping):
        raise UsageError(f"{beside}: expected an object with size, mean and std")
    preprocessing = read_preprocessing(config.get("pretrained_cfg", config), str(beside))
    pixels = build_transform(preprocessing)
    mean, std = (
        torch.tensor(values).reshape(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )

    def prepare(image: Image.Image) -> torch.Tensor:
        return (pixels(image).float() / 255 - mean) / std

    provenance = {
        "model": sha256(file),
        "preprocessing": {**preprocessing.describe(), "pooling": "own"},
        "views": [],
    }
    return _finish(file, name, network, prepare, provenance)


def _finish(
    file: pathlib.Path,
    name: str,
    network: Network,
    transform: Transform,
    provenance: Mapping[str, Any],
) -> ImageModel:
    """The model, with vectors of unit length, tried once.

    Raises:
        ArtefactError: the file gives no vectors for images prepared so.
    """

    def run(tensors: torch.Tensor) -> torch.Tensor:
        return F.normalize(network(tensors).float().flatten(1))

    try:
        dim = run(transform(Image.new("RGB", (256, 256), (128, 128, 128)))[None]).shape[1]
    except Exception as error:  # the runtime's own exceptions have no common class
        told = " ".join(str(error).split())[:300]
        raise ArtefactError(f"{file}: gives no vectors for images prepared so ({told})") from error
    return ImageModel(name, dim, {**provenance, "name": name, "engine": ONNX}, transform, run)


def _build_calls(calls: Sequence[str], file: pathlib.Path) -> Transform:
    """The transforms of a recipe, or of fast-reid's flags, as a function."""
    found = FASTREID.fullmatch(calls[0]) if len(calls) == 1 else None
    if found is None:
        if calls and calls[0].startswith("fastreid:"):
            raise ArtefactError(f"{file}: says {calls[0]!r}, which this version does not know")
        return compose(calls)
    height, width, *crop = [int(one) for one in found.groups() if one is not None]
    steps: list[Any] = [v2.Resize((height, width), v2.InterpolationMode.BICUBIC)]
    steps += [v2.CenterCrop(crop)] if crop else []
    resize = v2.Compose(steps)
    return lambda image: to_tensor(resize(image))


def _check_options(options: ModelOptions) -> None:
    """Refuse what an ONNX file decides."""
    if options.pooling or options.size or options.precision not in ("", "float32"):
        raise UsageError("an ONNX file says itself its pooling, size and precision: leave them out")
    if options.engine not in ("", ONNX) or options.device not in ("", "cpu"):
        raise UsageError(
            "an ONNX file is run by ONNX Runtime on the CPU: leave engine and device out"
        )
