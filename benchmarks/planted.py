"""Noise of known strength, planted into photos."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from fastseek.data.transforms import _noise_level

SHARES, SIGMAS = (0.02, 0.12), (12.0, 50.0)


def planted(
    pixels: np.ndarray, kind: int, random: np.random.Generator
) -> tuple[np.ndarray, float, float]:
    """The photo with noise of a kind, share of impulses and sigma drawn evenly; first Gaussian,
    then impulses.
    """
    sigma = random.uniform(*SIGMAS) if kind & _noise_level.GAUSSIAN else 0.0
    share = random.uniform(*SHARES) if kind & _noise_level.IMPULSE else 0.0
    noisy = (
        (pixels + random.normal(size=pixels.shape) * sigma).round().clip(0, 255).astype(np.uint8)
    )
    draw = random.random(pixels.shape[:2])
    noisy[draw < share], noisy[draw < share / 2] = 255, 0
    return noisy, share, sigma


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Saved as JPEG and read again."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))
