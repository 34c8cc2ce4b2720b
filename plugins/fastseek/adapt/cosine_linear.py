"""A linear layer under a cosine classifier."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..registry import ADAPTERS
from ._class_moments import compute_moments, sum_squares
from ._whitening import check_dim

MOMENTS = 0.9, 0.999  # of Adam
TINY = 1e-8


class Layer(NamedTuple):
    """What is learned: `directions` [dim, D] and `prototypes` [C, dim], one a class."""

    directions: np.ndarray
    prototypes: np.ndarray


@ADAPTERS.register()
class CosineLinear:
    """A linear layer, length 1, and a softmax over cosines with one prototype a class.

    Linear adaptation of frozen models, with the margin of CosFace (Wang et al., CVPR 2018). The layer begins as the principal directions, the prototypes as the class means;
    Adam (Kingma and Ba, ICLR 2015) learns both from batches drawn by the seed.

    Args:
        dim: length of the new vectors, at most that of the old ones.
        scale: what cosines are multiplied with before the softmax.
        margin: what is taken off the cosine with the image's own class.
        epochs: how often every image is seen.
        rate: Adam's step, falling to 0 as a cosine does.
        batch: images a step.
        seed: of the order of the images.

    Source: Kordopatis-Zilos et al., ILIAS: Instance-Level Image Retrieval at Scale, CVPR 2025
    Example: cosine_linear(dim=512, margin=0.5)
    """

    def __init__(
        self,
        dim: int = 512,
        scale: float = 16.0,
        margin: float = 0.5,
        epochs: int = 10,
        rate: float = 3e-3,
        batch: int = 128,
        seed: int = 0,
    ) -> None:
        check_dim(dim)
        if min(epochs, batch) < 1 or min(scale, rate) <= 0 or not 0 <= margin < 1:
            raise ValueError(
                "epochs and batch must be 1 or more, scale and rate above 0, margin 0 to 1; got"
                f" {epochs}, {batch}, {scale}, {rate} and {margin}"
            )
        self.dim, self.scale, self.margin = dim, scale, margin
        self.epochs, self.rate, self.batch, self.seed = epochs, rate, batch, seed

    def __call__(self, vectors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and directions [dim, D]."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        layer = self._begin(vectors, classes, mean)
        centered = (vectors - mean).astype(np.float32)
        random, step = np.random.default_rng(self.seed), 0
        steps = self.epochs * -(-len(vectors) // self.batch)
        adam = [_Adam(part.shape) for part in layer]
        for _ in range(self.epochs):
            order = random.permutation(len(vectors))
            for start in range(0, len(vectors), self.batch):
                rows = order[start : start + self.batch]
                gradients = compute_loss(
                    layer, centered[rows], classes[rows], self.scale, self.margin
                )[1]
                rate = self.rate * (1 + np.cos(np.pi * step / steps)) / 2
                step += 1
                for part, own, gradient in zip(layer, adam, gradients, strict=True):
                    part -= own.step(gradient, rate, step)
        return mean, layer.directions.astype(np.float64)

    def _begin(self, vectors: np.ndarray, classes: np.ndarray, mean: np.ndarray) -> Layer:
        """Principal directions, and the class means as they see them, float32."""
        axes = np.linalg.eigh(sum_squares(vectors, mean))[1][:, ::-1]
        directions = axes[:, : self.dim].T
        means = (compute_moments(vectors, classes).means - mean) @ directions.T
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return Layer(directions.astype(np.float32), (means / (lengths + TINY)).astype(np.float32))


class _Adam:
    """The running moments of one array."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.first, self.second = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def step(self, gradient: np.ndarray, rate: float, number: int) -> np.ndarray:
        """What is taken off the array in step `number`, counted from 1."""
        slow, slower = MOMENTS
        self.first += np.float32(1 - slow) * (gradient - self.first)
        self.second += np.float32(1 - slower) * (gradient * gradient - self.second)
        rate *= np.sqrt(1 - slower**number) / (1 - slow**number)
        moved: np.ndarray = np.float32(rate) * self.first / (np.sqrt(self.second) + TINY)
        return moved


def compute_loss(
    layer: Layer, vectors: np.ndarray, classes: np.ndarray, scale: float, margin: float
) -> tuple[float, Layer]:
    """The mean cross-entropy of some images, and its gradients.

    Args:
        layer: where it is taken.
        vectors: [b, D], centered.
        classes: int64 [b].
        scale, margin: as of `CosineLinear`.
    """
    rows = np.arange(len(vectors))
    new, lengths = _normalize(vectors @ layer.directions.T)
    prototypes, sizes = _normalize(layer.prototypes)
    cosines = new @ prototypes.T
    cosines[rows, classes] -= margin
    logits = scale * cosines
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    sums = shares.sum(axis=1, keepdims=True)
    loss = float((np.log(sums[:, 0]) - logits[rows, classes]).mean())
    shares /= sums
    shares[rows, classes] -= 1
    shares *= scale / len(vectors)
    outputs = _turn_back(shares @ prototypes, new, lengths)
    return loss, Layer(outputs.T @ vectors, _turn_back(shares.T @ new, prototypes, sizes))


def _normalize(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True) + TINY
    return vectors / lengths, lengths


def _turn_back(gradient: np.ndarray, unit: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The gradient by vectors of that by the same with length 1."""
    along = np.vecdot(gradient, unit)[:, None]
    turned: np.ndarray = (gradient - along * unit) / lengths
    return turned
