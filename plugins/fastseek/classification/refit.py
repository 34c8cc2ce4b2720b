"""Several models' embeddings, weighted, under one classifier of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, UsageError


class Refit:
    """A linear classifier over weighted embeddings (Sorghum-100 2022, second place).

    Every model's embedding gets length 1 and the factor sqrt(weight), then all stand side by side,
    so that an inner product is the weighted sum of the models' cosines; their widths may differ.

    Args:
        weights: one a model, positive; equal when None.
        strength: inverse of the regularisation of the logistic regression (scikit-learn's C).

    Raises:
        UsageError: a weight is not positive, or scikit-learn is missing.
    """

    def __init__(self, weights: Sequence[float] | None = None, strength: float = 10.0) -> None:
        if weights is not None and min(weights, default=0) <= 0:
            raise UsageError(f"weights must be positive, got {list(weights)}")
        self.weights, self.strength = weights, strength
        self._head: Any = None

    def fit(self, members: Sequence[np.ndarray], targets: np.ndarray) -> Refit:
        """Learn the classifier from models' embeddings [N, D_m] of the same N images and their
        classes int64 [N].
        """
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError as error:
            raise UsageError(
                "refitting a head needs scikit-learn: pip install scikit-learn"
            ) from error
        self._head = LogisticRegression(C=self.strength, max_iter=1000)
        self._head.fit(self.concatenate(members), targets)
        return self

    def __call__(self, members: Sequence[np.ndarray], classes: int) -> np.ndarray:
        """Probabilities float32 [N, classes]; a class without training images has probability 0.

        Raises:
            UsageError: `fit` was not called before.
        """
        if self._head is None:
            raise UsageError("the head has not been fitted")
        made = np.zeros((len(members[0]), classes), np.float32)
        made[:, self._head.classes_] = self._head.predict_proba(self.concatenate(members))
        return made

    def concatenate(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """float64 [N, sum of D_m] of length 1.

        Raises:
            ArtefactError: as many members as weights are needed, of equally many images, without
                zero vectors.
        """
        weights = np.ones(len(members)) if self.weights is None else np.asarray(self.weights, float)
        if len(weights) != len(members) or len({len(member) for member in members}) != 1:
            raise ArtefactError(
                f"{len(members)} members of {[len(member) for member in members]} images for "
                f"{len(weights)} weights"
            )
        parts = []
        for member, share in zip(members, weights / weights.sum(), strict=True):
            length = np.linalg.norm(member.astype(float), axis=1, keepdims=True)
            if not (length > 0).all() or not np.isfinite(length).all():
                raise ArtefactError(
                    f"embedding {int(length.argmin())} of a member is zero or not finite"
                )
            # The root: an inner product of two such rows holds the share itself.
            parts.append(np.sqrt(share) * member / length)
        return np.concatenate(parts, axis=1)
