"""The first numbers of every vector."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ..registry import ENHANCERS
from ..structures import Embeddings
from ._sides import treat_side


@ENHANCERS.register()
class Truncate:
    """The first `dim` numbers of every vector, for models trained so that these stand alone (the
    loss `matryoshka`). Other models lose less by `pca`.

    Args:
        dim: how many numbers are kept.

    Raises:
        UsageError: the vectors have fewer.

    Source: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022 (arXiv 2205.13147)
    Example: truncate(dim=128)
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"dim must be 1 or more, got {dim}")
        self.dim = dim

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both sides, float32."""
        if self.dim > gallery.dim:
            raise UsageError(f"dim={self.dim}, and the vectors have {gallery.dim} dimensions")
        return (
            treat_side(queries, self.dim, self._cut),
            treat_side(gallery, self.dim, self._cut),
        )

    def _cut(self, block: np.ndarray) -> np.ndarray:
        return block[:, : self.dim]
