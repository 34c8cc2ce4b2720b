"""Where a network looked, laid over a small picture of the photo."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ..io.paths import PathLike
from .thumbnails import thumbnail

COLOUR = (255, 64, 0)
STRONGEST = 0.7  # of the colour, where the map is highest


def overlay_heat(path: PathLike, heat: np.ndarray, side: int = 160) -> bytes | None:
    """A PNG of at most `side` x `side` pixels, the redder the higher the map; None when the photo
    cannot be shown.

    Args:
        path: the photo.
        heat: [h, w] over the whole photo, 0 to 1.
        side: the longer side.
    """
    small = thumbnail(path, side)
    if small is None:
        return None
    photo = Image.open(io.BytesIO(small[0])).convert("RGB")
    grid = Image.fromarray(np.asarray(heat, np.float32))
    share = (
        np.asarray(grid.resize(photo.size, Image.Resampling.BILINEAR)).clip(0, 1)[..., None]
        * STRONGEST
    )
    pixels = np.asarray(photo) * (1 - share) + np.array(COLOUR) * share
    out = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(out, "PNG", optimize=True)
    return out.getvalue()


def as_uri(png: bytes) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
