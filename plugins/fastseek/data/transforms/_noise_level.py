"""Which noise an image has: impulses (salt and pepper), Gaussian, both or none."""

from __future__ import annotations

import dataclasses

import numpy as np

from ._filters import opencv

CLEAN, IMPULSE, GAUSSIAN, BOTH = range(4)
NAMES = ("clean", "impulse", "gaussian", "both")
# An impulse: all channels this near to black, or to white, and one that far from its neighbours.
# Chosen on images with planted noise, see benchmarks/results/noise_detection.json: JPEG makes
# impulses grey, so 10 and 60 would miss them.
NEAR, JUMP = 60, 100
EVEN = 1e-3  # rounding leaves the coefficients of an even surface not quite at 0
# What tells noise from drawings and texture; chosen on the same images and on thumbnails.
MOST_PAIRS = 0.1  # how much oftener than by chance an impulse may lie beside another
LEAST_UNEVEN = 0.7  # the share of coefficients that noise leaves other than 0
UPPER_QUARTILE, TAIL = (1.4, 2.2), 5.5  # as multiples of the median; a normal's are 1.71 and 2.91
_ROOT = 3**0.5
_HIGH_PASS = np.array([1 - _ROOT, _ROOT - 3, 3 + _ROOT, -1 - _ROOT]) / (
    4 * 2**0.5
)  # Daubechies, 4 coefficients
_NORMAL_MAD = 0.6744897501960817  # the median of |x| of a standard normal x


@dataclasses.dataclass(frozen=True)
class Noise:
    """What was measured of one image.

    Args:
        share: share of pixels that are impulses.
        sigma: standard deviation of the Gaussian noise, grey values of 0..255.
        kind: CLEAN, IMPULSE, GAUSSIAN or BOTH.
    """

    share: float
    sigma: float
    kind: int

    @property
    def name(self) -> str:
        """The kind in words."""
        return NAMES[self.kind]


def measure(
    pixels: np.ndarray, share: float = 0.01, sigma: float = 10.0, near: int = NEAR, jump: int = JUMP
) -> Noise:
    """Measure the noise of an image at the size it was stored in; scaling would hide it.

    Extreme pixels that hang together are a drawing and count as none; so do coefficients that are
    not spread as those of Gaussian noise.

    Args:
        pixels: uint8 [H, W, 3].
        share: impulses from this share of pixels on.
        sigma: Gaussian from this standard deviation on.
        near, jump: see `impulses`.
    """
    found, around = impulses(pixels, near, jump)
    impulse = 0.0
    if _fall_apart(found):
        impulse = float(found.mean())
        pixels = np.where(found[:, :, None], around, pixels)
    gaussian = gaussian_sigma(pixels)
    if gaussian >= sigma and not _have_normal_tails(diagonal_details(pixels)):
        gaussian = 0.0
    return Noise(impulse, gaussian, IMPULSE * (impulse >= share) + GAUSSIAN * (gaussian >= sigma))


def impulses(
    pixels: np.ndarray, near: int = NEAR, jump: int = JUMP
) -> tuple[np.ndarray, np.ndarray]:
    """Where the impulses are, bool [H, W], and the 3 x 3 median of every pixel, uint8 [H, W, 3].

    An impulse has its three channels all nearly black or all nearly white and, in some channel,
    differs from the median by far; a black or white surface does not.

    Args:
        pixels: uint8 [H, W, 3].
        near: grey values up to here are nearly black, from 255 less it on nearly white.
        jump: what it differs by, more than so many grey values.
    """
    around = opencv().medianBlur(np.ascontiguousarray(pixels), 3)
    extreme = (pixels <= near).all(axis=2) | (pixels >= 255 - near).all(axis=2)
    far = np.abs(pixels.astype(np.int16) - around).max(axis=2) > jump
    return extreme & far, around


def gaussian_sigma(pixels: np.ndarray) -> float:
    """Standard deviation of additive Gaussian noise, grey values, the mean over the channels.

    From the median of the finest diagonal wavelet coefficients (Donoho and Johnstone, 1994;
    Daubechies wavelet of four coefficients): noise is in all of them, what the image shows in few.
    Coefficients that are exactly 0, of clipped or painted surfaces, tell nothing and are left out;
    where most are 0, as in text and logos, there is no noise, and the others are edges. An image
    below 4 x 4 pixels gives 0.

    Args:
        pixels: [H, W, C] in 0..255.
    """
    details = diagonal_details(pixels)
    return float(
        np.mean([_deviation(details[..., channel]) for channel in range(details.shape[2])])
    )


def diagonal_details(pixels: np.ndarray) -> np.ndarray:
    """The finest diagonal wavelet coefficients, absolute, [h, w, C]; none of a tiny image."""
    if min(pixels.shape[:2]) < len(_HIGH_PASS):
        return np.zeros((0, 0, pixels.shape[2]), np.float32)
    rows = _high_pass(pixels.astype(np.float32), 0)
    return np.abs(_high_pass(rows, 1))


def _fall_apart(found: np.ndarray) -> bool:
    """Whether impulses lie by chance, bool [H, W]; the strokes of letters and lines hang together."""
    share = found.mean()
    below, beside = found[1:] & found[:-1], found[:, 1:] & found[:, :-1]
    if not (share and below.size and beside.size):
        return True
    return bool((below.mean() + beside.mean()) / 2 <= share * (share + MOST_PAIRS))


def _have_normal_tails(details: np.ndarray) -> bool:
    """Whether coefficients are spread as those of Gaussian noise are: edges and texture have longer
    tails, regular patterns none.
    """
    uneven = details[details > EVEN]
    if uneven.size < LEAST_UNEVEN * details.size:
        return False
    median, quartile, tail = np.quantile(uneven, [0.5, 0.75, 0.95])
    low, high = UPPER_QUARTILE
    return bool(low * median <= quartile <= high * median and tail <= TAIL * median)


def _high_pass(values: np.ndarray, axis: int) -> np.ndarray:
    """Filtered and halved along an axis; places where the filter would leave the image are left
    out.
    """
    values = np.moveaxis(values, axis, 0)
    length = (len(values) - len(_HIGH_PASS)) // 2 + 1
    parts = [
        np.float32(weight) * values[start : start + 2 * length - 1 : 2]
        for start, weight in enumerate(_HIGH_PASS)
    ]
    return np.moveaxis(np.sum(parts, axis=0), 0, axis)


def _deviation(details: np.ndarray) -> float:
    uneven = details[details > EVEN]
    if 2 * uneven.size <= details.size:
        return 0.0
    return float(np.median(uneven)) / _NORMAL_MAD
