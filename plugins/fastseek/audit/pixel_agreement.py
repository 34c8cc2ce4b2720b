"""How well one image fits somewhere into another, pixel by pixel, as it is or mirrored."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.fft
from PIL import Image
from scipy.ndimage import gaussian_filter

from ..structures.arrays import FloatArray

SIDE = 64  # pixels of the longer side at which images are compared
BLUR = 0.1  # of that side: brightness that varies more slowly than this does not count
STEP = 0.97  # from one size of the smaller image to the next
LEAST_SHARE = 0.3  # of an image that the other one covers at least
FLAT = 1.0  # variance of gray levels below which there is nothing to compare
UNREAD = -1.0  # the agreement of an image that cannot be read


class _Ground(NamedTuple):
    """An image [H, W] that another one is laid on: its spectrum, and sums [H + 1, W + 1] of the
    pixels and of their squares above and left of a corner.
    """

    shape: tuple[int, int]
    spectrum: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


class _Patches(NamedTuple):
    """An image in several sizes: `shapes` (h, w), conjugate `spectra` of the pixels less their mean,
    as they are and mirrored, [n, 2, side, side // 2 + 1], and the sums of their squares.
    """

    shapes: list[tuple[int, int]]
    spectra: np.ndarray
    energies: list[float]


class PixelAgreement:
    """The correlation of two images, each numbered, where one fits best into the other.

    Both are gray and small, without what varies slowly in them. One is laid on every place of the
    other, in sizes from the largest that fits to one that covers 30 % of it, as it is and mirrored;
    then the other way round. Copies that were cropped, scaled, mirrored or compressed correlate by
    0.85 and more; two images of one thing that were taken one after the other hardly ever by 0.75.
    Copies that were turned are not found so: see `audit.verification`.

    Source: J. P. Lewis, Fast normalized cross-correlation, Vision Interface 1995.

    Args:
        read: the gray image of a number, uint8 [H, W], not much larger than `side`; None when it
            cannot be read.
        side: pixels of the longer side at which images are compared.
        kept: images that stay in memory, 1.5 MB each.
    """

    def __init__(
        self, read: Callable[[int], np.ndarray | None], side: int = SIDE, kept: int = 64
    ) -> None:
        self.side = side
        self._read = functools.lru_cache(32 * kept)(read)
        self._ground = functools.lru_cache(kept)(self._make_ground)
        self._patches = functools.lru_cache(kept)(self._make_patches)

    def __call__(self, first: int, second: int) -> float:
        """The agreement of two images, at most 1; -1 where one cannot be read."""
        one, other = self._read(first), self._read(second)
        if one is None or other is None:
            return UNREAD
        if np.array_equal(one, other):
            return 1.0
        return max(self._fit(first, second), self._fit(second, first))

    def _fit(self, ground: int, patch: int) -> float:
        """The best correlation of one image, laid on the other."""
        below = self._ground(ground)
        found = correlate(below, self._patches(patch, below.shape), self.side)
        return max(found, default=0.0)

    def _make_ground(self, number: int) -> _Ground:
        image = self._as_image(number)
        shrink = self.side / max(image.size)
        width, height = (max(1, round(length * shrink)) for length in image.size)
        return make_ground(self._sharpen(image, (width, height)), self.side)

    def _make_patches(self, number: int, shape: tuple[int, int]) -> _Patches:
        image = self._as_image(number)
        pixels = [self._sharpen(image, size) for size in fitting_sizes(image.size, shape)]
        return make_patches(pixels, self.side)

    def _as_image(self, number: int) -> Image.Image:
        gray = self._read(number)
        assert gray is not None  # unreadable images are not compared
        return Image.fromarray(gray)

    def _sharpen(self, image: Image.Image, size: tuple[int, int]) -> FloatArray:
        """The image in a size, less what varies slowly in it: float32 [h, w]."""
        small = np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)
        sharp: FloatArray = small - gaussian_filter(small, BLUR * self.side)
        return sharp


def fitting_sizes(size: tuple[int, int], shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The sizes (width, height) of an image in which it fits into another [H, W] and covers enough
    of it, the largest first, each once.
    """
    height, width = shape
    scale = min(width / size[0], height / size[1])
    before = None
    while True:
        wide, high = (max(1, math.floor(length * scale + 0.5)) for length in size)
        fits = min(wide, width), min(high, height)
        if fits[0] * fits[1] < LEAST_SHARE * width * height:
            return
        if fits != before:
            yield fits
        before, scale = fits, scale * STEP


def make_ground(pixels: FloatArray, side: int) -> _Ground:
    """What an image [H, W] is as the one below; sides up to `side`."""
    spectrum = scipy.fft.rfft2(pixels, (side, side))
    return _Ground(pixels.shape, spectrum, _sum_corners(pixels), _sum_corners(pixels**2))


def make_patches(images: list[FloatArray], side: int) -> _Patches:
    """What an image in several sizes is as the one above; those that are flat are left out."""
    shapes, both, energies = [], [], []
    for pixels in images:
        patch = pixels - pixels.mean()
        energy = float((patch.astype(np.float64) ** 2).sum())
        if energy < FLAT * patch.size:
            continue
        shapes.append(patch.shape)
        energies.append(energy)
        padded = np.zeros((2, side, side), np.float32)
        padded[0, : patch.shape[0], : patch.shape[1]] = patch
        padded[1, : patch.shape[0], : patch.shape[1]] = patch[:, ::-1]
        both.append(padded)
    empty = np.zeros((0, 2, side, side), np.float32)
    spectra = scipy.fft.rfft2(np.stack(both) if both else empty).conj()
    return _Patches(shapes, spectra, energies)


def correlate(ground: _Ground, patches: _Patches, side: int) -> Iterator[float]:
    """The best normalized cross-correlation of every patch, over all places where it lies within
    the ground.
    """
    if not patches.shapes:
        return
    # No place wraps around: a patch that lies within the ground ends before `side`.
    products = scipy.fft.irfft2(ground.spectrum * patches.spectra, (side, side))
    height, width = ground.shape
    for (high, wide), both, energy in zip(patches.shapes, products, patches.energies, strict=True):
        places = both[:, : height - high + 1, : width - wide + 1]
        area = high * wide
        total = _sum_windows(ground.sums, high, wide)
        spread = _sum_windows(ground.squares, high, wide) - total**2 / area
        told = spread >= FLAT * area
        if told.any():
            yield float((places[:, told] / np.sqrt(spread[told] * energy)).max())


def _sum_corners(pixels: FloatArray) -> np.ndarray:
    sums = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1))
    sums[1:, 1:] = pixels.cumsum(0, dtype=np.float64).cumsum(1)
    return sums


def _sum_windows(sums: np.ndarray, high: int, wide: int) -> np.ndarray:
    """The sums over all windows of a size."""
    windows: np.ndarray = (
        sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    )
    return windows
