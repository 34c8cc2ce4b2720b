"""Class probabilities times a prior of place and time."""

from __future__ import annotations

import numpy as np

from ..errors import ArtefactError


def with_prior(
    probabilities: np.ndarray, prior: np.ndarray, known: np.ndarray, power: float = 1.0
) -> np.ndarray:
    """P(class | image) * prior(class | place, time)^power, normalised (Mac Aodha et al., ICCV
    2019).

    Args:
        probabilities: [N, C] of the images.
        prior: [N, C], 0 or more; what a row holds does not matter where `known` is False.
        known: bool [N]; without a valid place the prior is not used.
        power: how much the prior counts.

    Returns:
        float32 [N, C]; a row whose product is 0 everywhere stays as the image alone says.

    Raises:
        ArtefactError: shapes differ, or a prior that is used is negative or not finite.
    """
    if prior.shape != probabilities.shape or known.shape != probabilities.shape[:1]:
        raise ArtefactError(
            f"prior {prior.shape} and known {known.shape} for probabilities {probabilities.shape}"
        )
    if not (np.isfinite(prior[known]) & (prior[known] >= 0)).all():
        raise ArtefactError("a prior that is used is negative or not finite")
    product = probabilities.astype(float)
    product[known] *= prior[known].astype(float) ** power
    total = product.sum(axis=1, keepdims=True)
    return np.where(total > 0, product / np.where(total > 0, total, 1), probabilities).astype(
        np.float32
    )
