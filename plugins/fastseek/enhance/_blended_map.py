"""A linear layer beside the vectors it was fitted on."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..errors import ArtefactError
from ..knn.vectors import unit_vectors


@dataclasses.dataclass(frozen=True, eq=False)
class BlendedMap:
    """Vectors and what a linear layer makes of them, side by side: the cosine of two results is the
    weighted mean of the cosines before and after the layer.

    Args:
        mean: [D] what is taken off before the layer.
        directions: [n, D] the layer.
        blend: share of the layer, 0 to 1: 0 leaves the vectors as they are, 1 leaves only what the
            layer gives.

    Raises:
        ArtefactError: the blend is no share.
    """

    mean: np.ndarray
    directions: np.ndarray
    blend: float

    def __post_init__(self) -> None:
        if not 0 <= self.blend <= 1:
            raise ArtefactError(f"an adapter's blend must be 0 to 1, this one has {self.blend}")

    @property
    def dim(self) -> int:
        """Length of a new vector: D + n, or one of the two where the other has no share."""
        before = len(self.mean) if self.blend < 1 else 0
        return before + (len(self.directions) if self.blend > 0 else 0)

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Vectors [b, D] of length 1 to vectors [b, dim] of length 1, float32.

        What is the mean itself has no direction behind the layer: zeros stand there.
        """
        if self.blend == 0:
            return block
        new = self.project(block)
        if self.blend == 1:
            return new
        shares = np.float32(math.sqrt(1 - self.blend)), np.float32(math.sqrt(self.blend))
        return np.concatenate([shares[0] * block, shares[1] * new], axis=1)

    def project(self, block: np.ndarray) -> np.ndarray:
        """What the layer makes of vectors [b, D]: [b, n] float32 of length 1."""
        centered = (block - self.mean).astype(np.float32)
        return unit_vectors(centered @ self.directions.T.astype(np.float32))[0]
