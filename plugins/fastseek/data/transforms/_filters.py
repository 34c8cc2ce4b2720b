"""The two filters that repair noise, and OpenCV, which has them."""

from __future__ import annotations

import functools
import types

import numpy as np
from PIL import Image

from ...errors import UsageError


@functools.cache
def opencv() -> types.ModuleType:
    """OpenCV, on one thread: the loader's workers are the parallel part.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UsageError(
            "noise is found and repaired with OpenCV: pip install opencv-python-headless"
        ) from error
    cv2.setNumThreads(1)
    return cv2


def median(image: Image.Image, size: int = 5) -> Image.Image:
    """The median of every size x size window, a channel at a time; takes impulses away."""
    return Image.fromarray(opencv().medianBlur(np.array(image), size))


def bilateral(image: Image.Image, color: float = 100.0, space: float = 12.0) -> Image.Image:
    """The bilateral filter (Tomasi and Manduchi, 1998), which smooths but keeps edges; takes
    Gaussian noise away.

    Args:
        image: RGB.
        color: sigma over color distance, grey values.
        space: sigma over distance, pixels; the window follows from it.
    """
    return Image.fromarray(opencv().bilateralFilter(np.array(image), 0, color, space))
