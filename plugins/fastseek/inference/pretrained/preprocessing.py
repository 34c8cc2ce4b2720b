"""How an image becomes what a pretrained network takes: size, crop, interpolation, mean, deviation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from PIL import Image
from timm.data import create_transform

from ...data.images import NORMAL_FORM
from ...errors import UsageError

Transform = Callable[[Image.Image], torch.Tensor]
CROP_MODES = ("center", "squash", "border")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What timm calls a data config.

    Args:
        size: height and width of what the network takes.
        mean, std: taken from pixels of 0..1, and what they are divided by.
        interpolation: "bilinear", "bicubic" …
        crop_pct: the share of the resized image's side that the crop keeps.
        crop_mode: "center", "squash" or "border", see timm.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    crop_mode: str

    def describe(self) -> dict[str, Any]:
        """The values as JSON, for a provenance."""
        return {
            "size": list(self.size),
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
            "normal_form": NORMAL_FORM,
            "unit_length": True,
        }


def read_preprocessing(config: Mapping[str, Any], where: str) -> Preprocessing:
    """The preprocessing of a config as timm writes it.

    Args:
        config: "size" or "input_size", "mean", "std", and perhaps "interpolation", "crop_pct" and
            "crop_mode".
        where: what an error calls it.

    Raises:
        UsageError: a value is missing or makes no sense.
    """
    try:
        size = [int(side) for side in config.get("size") or config["input_size"][1:]]
        made = Preprocessing(
            size=(size[0], size[-1]),
            mean=tuple(float(value) for value in config["mean"]),
            std=tuple(float(value) for value in config["std"]),
            interpolation=str(config.get("interpolation") or "bicubic"),
            crop_pct=float(config.get("crop_pct") or 1.0),
            crop_mode=str(config.get("crop_mode") or "center"),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"{where}: tells no preprocessing ({error!r}): expected size [height, width], mean and"
            " std of three numbers, and perhaps interpolation, crop_pct and crop_mode"
        ) from error
    legal = len(made.mean) == len(made.std) == 3 and min(made.std) > 0
    legal = legal and min(made.size) > 0 and 0 < made.crop_pct <= 1
    if not legal or made.crop_mode not in CROP_MODES:
        raise UsageError(f"{where}: a preprocessing that makes no sense: {made.describe()}")
    return made


def build_transform(preprocessing: Preprocessing) -> Transform:
    """RGB images -> uint8 [3, height, width], resized and cropped as timm does it."""
    made: Transform = create_transform(
        input_size=(3, *preprocessing.size),
        is_training=False,
        use_prefetcher=True,  # the network normalizes whole batches
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop_pct,
        crop_mode=preprocessing.crop_mode,
    )
    return made
