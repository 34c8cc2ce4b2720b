"""Where a network looked, laid over a small copy of the image."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ..io.paths import PathLike
from .thumbnails import thumbnail

COLOR = (255, 64, 0)
STRONGEST = 0.7  # of the color, where the map is highest


def overlay_heat(path: PathLike, heat: np.ndarray, side: int = 160) -> bytes | None:
    """A PNG of at most `side` x `side` pixels, the redder the higher the map; None when the image
    cannot be shown.

    Args:
        path: the image.
        heat: [h, w] over the whole image, 0 to 1.
        side: the longer side.
    """
    small = thumbnail(path, side)
    if small is None:
        return None
    image = Image.open(io.BytesIO(small[0]), formats=("JPEG",)).convert("RGB")
    grid = Image.fromarray(np.asarray(heat, np.float32))
    share = (
        np.asarray(grid.resize(image.size, Image.Resampling.BILINEAR)).clip(0, 1)[..., None]
        * STRONGEST
    )
    pixels = np.asarray(image) * (1 - share) + np.array(COLOR) * share
    out = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(out, "PNG", optimize=True)
    return out.getvalue()


def as_uri(png: bytes) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
