"""Noise on some images, always the same ones, so that its repair can be measured."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, through_pil
from ._rng import probability, span


@TRANSFORMS.register()
class PlantedNoise:
    """Impulses, Gaussian noise or both on a part of the images: a test set like DIGIX's second
    round from a clean one.

    An image's own pixels decide whether it gets noise, which, and how much, so a test set is the
    same in every run and in every order, and global random numbers are left alone. In the list for
    testing it stands first, before `denoise`.

    Args:
        share: share of the images that get noise; a third of these impulses, a third Gaussian
            noise, a third both.
        sigma: standard deviation of the Gaussian noise, grey values, from and to.
        impulses: share of the pixels that become black or white, from and to.
        seed: another one plants other noise.

    Raises:
        ValueError: a share outside 0..1, or a range that is none.

    Example: planted_noise(share=0.3)
    """

    def __init__(
        self,
        share: float = 0.3,
        sigma: tuple[float, float] = (15, 40),
        impulses: tuple[float, float] = (0.02, 0.1),
        seed: int = 0,
    ) -> None:
        self.share, self.seed = probability(share), seed
        self.sigma, self.impulses = span("sigma", sigma, 0, 255), span("impulses", impulses, 0, 1)

    def __call__(self, image: ImageLike) -> ImageLike:
        return through_pil(self._plant, image)

    def _plant(self, image: Image.Image) -> Image.Image:
        pixels = np.array(image)
        random = np.random.default_rng([self.seed, zlib.crc32(pixels.tobytes())])
        if random.random() >= self.share:
            return image
        kind = int(random.integers(1, 4))
        if kind & 2:
            noisy = pixels + random.normal(scale=random.uniform(*self.sigma), size=pixels.shape)
            pixels = noisy.round().clip(0, 255).astype(np.uint8)
        if kind & 1:
            share, drawn = random.uniform(*self.impulses), random.random(pixels.shape[:2])
            pixels = np.where(
                (drawn < share)[:, :, None], np.where(drawn < share / 2, 0, 255)[:, :, None], pixels
            )
        return Image.fromarray(pixels.astype(np.uint8))
