"""Vectors counted from the middle of a set."""

from __future__ import annotations

import numpy as np

from ..registry import ENHANCERS
from ..structures import Embeddings
from ._fits import fit_or_load
from ._moments import compute_mean
from ._sides import treat_side


@ENHANCERS.register()
class Center:
    """The mean of one set is taken from every vector. Memory: one block beside the new vectors.

    Args:
        fit: "gallery" or "queries", whose mean it is, or a file that `save` has written.
        save: .safetensors file to keep the mean in; "" for none.

    Raises:
        ArtefactError: the saved mean is of another model or treatment. DataError: a vector is not
            finite.

    Example: center(fit='gallery')
    """

    not_in_call = ("fit", "save")  # the digest of what was learned stands behind the call

    def __init__(self, fit: str = "gallery", save: str = "") -> None:
        self.fit, self.save = fit, save

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both sides, float32."""
        fit = fit_or_load(
            "center",
            self.fit,
            self.save,
            (queries, gallery),
            lambda side: {"mean": compute_mean(side)},
        )
        middle, digest = fit.arrays["mean"], fit.digest

        def move(block: np.ndarray) -> np.ndarray:
            return (block - middle).astype(np.float32)

        return (
            treat_side(queries, queries.dim, move, digest),
            treat_side(gallery, gallery.dim, move, digest),
        )
