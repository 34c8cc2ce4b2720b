"""Principal components."""

from __future__ import annotations

import numpy as np

from ..errors import DataError, UsageError
from ..registry import ENHANCERS
from ..structures import Embeddings
from ._fits import Arrays, Fit, fit_or_load
from ._moments import compute_covariance, compute_mean
from ._sides import treat_side

FLAT = (
    1e-9  # a direction with less than this part of the largest variance is noise of the arithmetic
)


@ENHANCERS.register()
class Pca:
    """Vectors counted from the mean and turned onto the directions in which one set varies most.

    With `whiten` every direction is divided by its standard deviation, so that none outweighs
    another (Jégou and Chum, ECCV 2012); directions in which the set does not vary cannot be. What
    is learned is the same whatever `dim` and `whiten` are, so one file serves all. Memory: a D x D
    matrix and one block beside the new vectors.

    Args:
        dim: how many directions are kept; all when None (with `whiten`, all that vary).
        whiten: whether variances are made equal.
        fit: "gallery" or "queries", the set, or a file that `save` has written.
        save: .safetensors file to keep the directions in; "" for none.

    Raises:
        UsageError: `dim` is more than the vectors have.
        DataError: the set is too small, does not vary in `dim` directions, or holds a vector that
            is not finite.
        ArtefactError: the saved directions are of another model or treatment.

    Source: Jégou and Chum, Negative Evidences and Co-occurrences in Image Retrieval, ECCV 2012
    Example: pca(dim=256, whiten=True)
    """

    not_in_call = ("fit", "save")  # the digest of what was learned stands behind the call

    def __init__(
        self, dim: int | None = None, whiten: bool = False, fit: str = "gallery", save: str = ""
    ) -> None:
        if dim is not None and dim < 1:
            raise ValueError(f"dim must be 1 or more, got {dim}")
        self.dim, self.whiten, self.fit, self.save = dim, whiten, fit, save

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both sides, float32."""
        if self.dim is not None and self.dim > gallery.dim:
            raise UsageError(f"dim={self.dim}, and the vectors have {gallery.dim} dimensions")
        fit = fit_or_load("pca", self.fit, self.save, (queries, gallery), learn)
        middle, digest, turn = fit.arrays["mean"], fit.digest, self._find_projection(fit)

        def project(block: np.ndarray) -> np.ndarray:
            return (block - middle).astype(np.float32) @ turn

        return (
            treat_side(queries, turn.shape[1], project, digest),
            treat_side(gallery, turn.shape[1], project, digest),
        )

    def _find_projection(self, fit: Fit) -> np.ndarray:
        """[D, dim] float32."""
        directions, variances = fit.arrays["directions"], fit.arrays["variances"]
        varying = int((variances > FLAT * variances[0]).sum())
        dim = self.dim or (varying if self.whiten else len(variances))
        if not varying:
            raise DataError(
                f"the {fit.provenance['rows']} vectors fitted on are all equal, they vary in 0"
                " directions: fit on others"
            )
        if self.whiten and dim > varying:
            raise DataError(
                f"the {fit.provenance['rows']} vectors fitted on vary in {varying} directions, not in"
                f" {dim}: fit on more of them or ask for dim={varying}"
            )
        scales = np.sqrt(variances[:dim]) if self.whiten else np.ones(dim)
        return (directions[:dim].T / scales).astype(np.float32)


def learn(side: Embeddings) -> Arrays:
    """Mean [D], directions [D, D] one a row by falling variance, and variances [D], all float64.

    The largest component of every direction is positive, so that the same set gives the same
    directions everywhere.
    """
    middle = compute_mean(side)
    variances, directions = np.linalg.eigh(compute_covariance(side, middle))
    directions = directions[:, ::-1].T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return {
        "mean": middle,
        "directions": directions * np.sign(largest),
        "variances": np.maximum(variances[::-1], 0),
    }
