"""A second look: the part of an image the network looks at, cut out and embedded in its place."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import UsageError
from ..regions.attention import STRENGTHS, attention
from ..regions.foreground import foreground
from ..registry import parse
from .model_protocols import as_map_model

FOREGROUND = {"threshold": 0.2, "margin": 0.1, "least": 0.1}


def cutter(model: nn.Module, call: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function images [B, 3, H, W] -> their foregrounds, each enlarged to H x W (DIGIX 2020,
    third place).

    The model's own map says where that is, so labels of classes are all it takes; see
    `regions.foreground`.

    Args:
        model: a Seeker in evaluation.
        call: "foreground(at='s4', threshold=0.2, margin=0.1, least=0.1, by='sum')", arguments as
            wanted; `at` names the map, `by` is that of `regions.attention.strength`.

    Raises:
        UsageError: another call, an argument that does not exist, or a map the backbone does not
            give.
    """
    name, args, given = parse(call)
    known = {"at", "by", *FOREGROUND}
    if name != "foreground" or args or not given.keys() <= known:
        raise UsageError(
            f"SEEK.FOREGROUND {call!r} is not of the form \"foreground(at='s4', threshold=0.2, "
            "margin=0.1, least=0.1, by='sum')\""
        )
    seeker = as_map_model(model, f"SEEK.FOREGROUND {call!r}")
    shares = {key: float(given.get(key, value)) for key, value in FOREGROUND.items()}
    on, by = str(given.get("at", "s4")), str(given.get("by", "sum"))
    if by not in STRENGTHS:
        raise UsageError(f"SEEK.FOREGROUND {call!r}: by must be one of {', '.join(STRENGTHS)}")
    if on not in seeker.backbone.channels:
        raise UsageError(
            f"SEEK.FOREGROUND {call!r}: the backbone of {type(seeker).__name__} gives no map {on!r}"
        )

    def cut(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            maps = seeker.backbone(seeker.preprocess(images))[on].float().cpu().numpy()
        boxes = [foreground(attention(one, by), **shares) for one in maps]
        return torch.stack([enlarge(image, box) for image, box in zip(images, boxes, strict=True)])

    return cut


def enlarge(image: torch.Tensor, box: tuple[float, float, float, float]) -> torch.Tensor:
    """A part of an image [3, H, W], at its full size again.

    Args:
        image: not changed.
        box: top, left, bottom, right as shares of height and width; at least one pixel is taken.
    """
    height, width = image.shape[1:]
    top, left = min(int(box[0] * height), height - 1), min(int(box[1] * width), width - 1)
    bottom, right = max(top + 1, round(box[2] * height)), max(left + 1, round(box[3] * width))
    part = image[None, :, top:bottom, left:right]
    if part.shape[2:] == image.shape[1:]:
        return image
    return F.interpolate(
        part, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )[0]
